'use strict';
'require baseclass';
'require dpi-dual.svg as svg';
'require dpi-dual.tables as tables';

/*
 * The chart of figures over time, `line` of charts.js: lanes over one time axis, a cursor, a table of the points.
 */

/* The next 1, 2 or 5 times a power of ten; of what is counted in KiB, MiB …, that many of those. */
const round_up = (value, binary) => {
	if (!(value > 0))
		return 1;
	const unit = binary ? 1024 ** Math.max(0, Math.floor(Math.log2(value) / 10)) : 1;
	const power = 10 ** Math.floor(Math.log10(value / unit));
	const found = [ 1, 2, 5, 10 ].find(step => step * power >= value / unit * 0.9999) * power;
	return (binary && found >= 1000 ? 1024 : found) * unit;
};

const STEPS_S = [ 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000 ];

/* Round moments of local time between two, `most` at most. */
const moments = (since, until, most) => {
	const step = STEPS_S.find(candidate => (until - since) / candidate <= most) ?? STEPS_S[STEPS_S.length - 1];
	const zone = new Date(since * 1000).getTimezoneOffset() * 60;
	const found = [];
	for (let at = Math.ceil((since - zone) / step) * step + zone; at <= until; at += step)
		found.push(at);
	return { step: step, found: found };
};

const clock = (at, step) => new Date(at * 1000).toLocaleString(document.documentElement.lang || [],
	step >= 86400 ? { month: 'short', day: 'numeric' }
		: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(step < 60 ? { second: '2-digit' } : {}) });

const line = options => {
	const id = svg.next_id();
	const series = options.series.map((entry, i) => ({ format: value => tables.count(value), lane: 0, kind: 'line', ...entry, i: i }));
	const count = 1 + Math.max(...series.map(entry => entry.lane));
	const lanes = Array.from({ length: count }, (unused, i) => series.filter(entry => entry.lane == i));
	const height = options.height ?? 150;
	const top = 22, gap = 30, bottom = 24, left = 76, right = 12;
	const whole = top + count * height + (count - 1) * gap + bottom;
	const words = svg.described(id, options.title);

	const marks = svg.node('g', { 'class': 'dpi-axis' });
	const curves = series.map(entry => ({
		area: entry.kind == 'area' ? svg.node('path', { 'class': `dpi-area dpi-c${entry.i % 6}` })
			: entry.kind == 'column' ? svg.node('path', { 'class': `dpi-fill dpi-column${entry.i % 2} dpi-c${entry.i % 6}` }) : null,
		path: svg.node('path', { 'class': `dpi-line dpi-c${entry.i % 6} dpi-dash${entry.i % 4}`, 'vector-effect': 'non-scaling-stroke' })
	}));
	const cursor = svg.node('g', { 'class': 'dpi-cursor', 'visibility': 'hidden' });
	const canvas = svg.node('svg', {
		...words.attributes, 'class': 'dpi-line-chart', 'height': whole, 'width': '100%', 'tabindex': 0, 'focusable': 'true'
	}, [ ...words.nodes, marks, ...curves.flatMap(curve => [ curve.area, curve.path ]).filter(Boolean), cursor ]);

	const figures = series.map(() => E('b', {}));
	const moment = E('span', { 'class': 'dpi-moment' });
	const readout = E('div', { 'class': 'dpi-readout' }, [
		...series.map((entry, i) => E('span', { 'class': 'dpi-key' }, [
			svg.swatch([ svg.node('line', { 'x1': 0, 'x2': 22, 'y1': 6, 'y2': 6, 'class': `dpi-line dpi-c${i % 6} dpi-dash${i % 4}` }) ]),
			E('span', {}, [ entry.name ]), figures[i]
		])), moment
	]);
	// Only what the keyboard asked for is read out: a live region that changed with each poll would never be quiet.
	const live = E('div', { 'class': 'dpi-hidden', 'aria-live': 'polite' });
	const hollow = E('div', { 'class': 'dpi-hollow', 'hidden': '' }, [ options.empty ?? _('No figures for this period yet.') ]);
	const rows = E('tbody', {});
	const listing = E('details', { 'class': 'dpi-as-table', 'toggle': () => list() }, [
		E('summary', {}, [ _('Show as table') ]),
		E('div', { 'class': 'dpi-scroll dpi-short', 'tabindex': '0', 'role': 'region', 'aria-label': options.title }, [
			E('table', { 'class': 'dpi-table dpi-plain' }, [
				E('thead', {}, [ E('tr', {}, [ E('th', { 'scope': 'col' }, [ _('Time') ]),
					...series.map(entry => E('th', { 'scope': 'col', 'class': 'dpi-number' }, [ entry.name ])) ]) ]),
				rows
			])
		])
	]);
	const frame = E('div', { 'class': 'dpi-frame' }, [ canvas, hollow ]);
	const node = E('figure', { 'class': 'dpi-chart', 'id': id }, [ readout, frame, live, listing ]);

	let data = { points: [] }, width = 0, at_cursor = null, scale = null;

	const pieces = (entry, x, y) => {
		// Runs of points without a gap; a lone point is drawn as a short stroke with round ends.
		const runs = [];
		let run = null, before = null;
		for (const point of data.points) {
			const value = point[entry.i + 1];
			if (value == null || (before != null && data.interval_s > 0 && point[0] - before > 1.5 * data.interval_s))
				run = null;
			if (value != null) {
				if (!run)
					runs.push(run = []);
				run.push([ x(point[0]), y(value) ]);
			}
			before = point[0];
		}
		return runs;
	};

	const draw = () => {
		const points = data.points;
		hollow.hidden = points.length > 0;
		canvas.classList.toggle('dpi-faint', points.length == 0);
		const first = points.length ? points[0][0] : tables.now() - 600;
		const last = points.length ? points[points.length - 1][0] : tables.now();
		const since = data.since ?? first, until = Math.max(data.until ?? last, since + 1);
		const inner = Math.max(40, width - left - right);
		const x = at => left + (at - since) / (until - since) * inner;
		canvas.setAttribute('viewBox', `0 0 ${width} ${whole}`);

		const drawn = [];
		const ticks = moments(since, until, Math.max(2, inner / 85));
		lanes.forEach((entries, lane) => {
			const from = top + lane * (height + gap);
			const peak = Math.max(0, ...entries.flatMap(entry => points.map(point => point[entry.i + 1] ?? 0)));
			const high = data.max?.[lane] ?? round_up(peak, entries[0].binary);
			const y = value => from + height - Math.min(1, Math.max(0, value / high)) * height;
			if (options.lanes?.[lane])
				drawn.push(svg.node('text', { 'x': left, 'y': from - 8, 'class': 'dpi-lane' }, [ options.lanes[lane] ]));
			for (const part of [ 0, 0.5, 1 ]) {
				drawn.push(svg.node('line', { 'x1': left, 'x2': left + inner, 'y1': y(high * part), 'y2': y(high * part), 'class': part ? 'dpi-grid' : 'dpi-base' }));
				drawn.push(svg.node('text', { 'x': left - 8, 'y': y(high * part) + 4, 'text-anchor': 'end' }, [ entries[0].format(high * part) ]));
			}
			for (const at of ticks.found)
				drawn.push(svg.node('line', { 'x1': x(at), 'x2': x(at), 'y1': from, 'y2': from + height, 'class': 'dpi-grid' }));
			for (const entry of entries) {
				const base = from + height;
				if (entry.kind == 'column') {
					const wide = Math.max(2, x(since + data.interval_s) - x(since)) * 0.8 / entries.length, place = entries.indexOf(entry);
					curves[entry.i].area.setAttribute('d', points.filter(point => point[entry.i + 1] > 0).map(point => {
						// What is there is seen, however little it is beside the rest.
						const at = x(point[0]) + wide / 8 + place * wide, up = Math.min(y(point[entry.i + 1]), base - 1);
						return `M${at.toFixed(1)} ${base}V${up.toFixed(1)}h${wide.toFixed(1)}V${base}Z`;
					}).join(''));
					continue;
				}
				const runs = pieces(entry, x, y);
				const corner = (p, i) => i == 0 ? `M${p[0].toFixed(1)} ${p[1].toFixed(1)}`
					: `${entry.kind == 'step' ? `H${p[0].toFixed(1)}` : ''}L${p[0].toFixed(1)} ${p[1].toFixed(1)}`;
				const trace = run => run.length == 1 ? `M${run[0][0].toFixed(1)} ${run[0][1].toFixed(1)}h.1` : run.map(corner).join('');
				curves[entry.i].path.setAttribute('d', runs.map(trace).join(''));
				curves[entry.i].area?.setAttribute('d', runs.filter(run => run.length > 1)
					.map(run => `${trace(run)}V${base}H${run[0][0].toFixed(1)}Z`).join(''));
			}
		});
		const lowest = top + count * height + (count - 1) * gap;
		for (const at of ticks.found) {
			// A label that would be cut at an edge is not needed: its neighbours say enough.
			if (x(at) > left + 14 && x(at) < width - 22)
				drawn.push(svg.node('text', { 'x': x(at), 'y': lowest + 17, 'text-anchor': 'middle' }, [ clock(at, ticks.step) ]));
		}
		marks.replaceChildren(...drawn);
		scale = { x: x, since: since, until: until, inner: inner };

		words.say(points.length ? series.map(entry => {
			const values = points.map(point => point[entry.i + 1]).filter(value => value != null);
			return values.length ? _('%s: last %s, highest %s.').format(entry.name,
				entry.format(values[values.length - 1]), entry.format(Math.max(...values))) : '';
		}).join(' ') + ' ' + _('Arrow keys move through the points.') : options.empty ?? _('No figures for this period yet.'));
		point_at(at_cursor);
		list();
	};

	/* The figures of the point nearest to `at`, or of the newest when there is no cursor. */
	const point_at = at => {
		const points = data.points;
		at_cursor = at;
		if (!points.length || !scale) {
			figures.forEach(figure => { figure.textContent = ''; });
			moment.textContent = '';
			cursor.setAttribute('visibility', 'hidden');
			return null;
		}
		const nearest = at == null ? points[points.length - 1]
			: points.reduce((best, point) => Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best);
		series.forEach((entry, i) => {
			const value = nearest[i + 1];
			figures[i].textContent = value == null ? '–' : entry.format(value);
		});
		moment.textContent = at == null ? '' : tables.time(nearest[0]);
		if (at == null)
			cursor.setAttribute('visibility', 'hidden');
		else {
			const here = scale.x(nearest[0]);
			cursor.setAttribute('visibility', 'visible');
			cursor.replaceChildren(svg.node('line', { 'x1': here, 'x2': here, 'y1': top, 'y2': top + count * height + (count - 1) * gap }));
		}
		return nearest;
	};

	const list = () => {
		if (!listing.open)
			return;
		rows.replaceChildren(...data.points.slice(-400).reverse().map(point => E('tr', {}, [
			E('th', { 'scope': 'row' }, [ tables.time(point[0]) ]),
			...series.map((entry, i) => E('td', { 'class': 'dpi-number' }, [ point[i + 1] == null ? '–' : entry.format(point[i + 1]) ]))
		])));
	};

	canvas.addEventListener('pointermove', ev => {
		if (scale && data.points.length)
			point_at(scale.since + (ev.clientX - canvas.getBoundingClientRect().left - left) / scale.inner * (scale.until - scale.since));
	});
	canvas.addEventListener('pointerleave', () => point_at(null));
	canvas.addEventListener('blur', () => { live.textContent = ''; point_at(null); });
	canvas.addEventListener('keydown', ev => {
		const points = data.points, step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[ev.key];
		if (ev.key == 'Escape')
			point_at(null);
		if (step == null || !points.length)
			return;
		ev.preventDefault();
		const now = at_cursor == null ? points.length - 1 : points.findIndex(point => point[0] >= at_cursor);
		const next = Math.min(points.length - 1, Math.max(0, (now < 0 ? points.length - 1 : now) + (at_cursor == null && step == -1 ? 0 : step)));
		const point = point_at(points[next][0]);
		live.textContent = `${tables.time(point[0])}: ${series.map((entry, i) => `${entry.name} ${point[i + 1] == null ? '–' : entry.format(point[i + 1])}`).join(', ')}`;
	});
	new ResizeObserver(entries => {
		const found = Math.round(entries[0].contentRect.width);
		if (found && found != width) {
			width = found;
			draw();
		}
	}).observe(frame);

	return { node: node, update: next => { data = next; if (width) draw(); } };
};

return baseclass.extend({ line: line });
