'use strict';
'require baseclass';
'require dpi-dual.tables as tables';

/*
 * Charts in SVG: in the theme's colours, and readable without them (dashes, patterns, labels), with the keyboard
 * and by a screen reader. Each answers { node, update(data) }; update changes the chart in place.
 *
 *   line(options)       figures over time
 *     title             what it shows (the chart's accessible name)
 *     series            [ { name, format(value) -> string, lane: 0, kind: 'line' | 'area' | 'step' | 'dots' | 'column' } ]; lanes are strips one
 *                       above another over one time axis, each with a y axis of its own, for figures of different units
 *     lanes             names of the strips, e.g. [ _('WAN'), _('Web') ] (optional)
 *     height            px a lane (default 150)
 *     empty             text shown while there is no point
 *     update({ points, interval_s, since, until, max })
 *       points          [ [ at, value of series 0, value of series 1, … ], … ] by rising `at` (Unix seconds);
 *                       null is a gap; so is a step of more than 1.5 × interval_s (0 or absent: no gaps are looked for)
 *       interval_s      is also how long a 'column' stands for, from its `at` on; columns of one lane stand side by side
 *       since, until    ends of the x axis (default: first and last point); max: [ top of lane 0, … ] (default: the data's)
 *
 *   bars(options)       horizontal bars with name and value, largest as given; a real table to screen readers
 *     title, format(value) -> string, name_title, value_title, empty (text)
 *     update([ { name, value, note, open() }, … ])    open: makes the name a button
 *
 *   donut(options)      shares of a whole, its legend a table with figures and shares
 *     title, format(value) -> string, slices (most slices, default 6; what is over goes into 'other'), centre (word
 *     under the total), name_title, value_title, empty (text)
 *     update([ { name, value }, … ])     largest first
 *
 *   sparkline(options)  a small curve in a line of text or a card
 *     title, format(value) -> string, step: true for a step curve (reputation), width, height (px), min, max,
 *     stretch: true to be drawn as wide as its box
 *     update([ [ at, value ], … ])
 *
 * In line() the left and right arrow keys, Home and End move a cursor whose figures are read out below the chart;
 * 'Show as table' lists the points. Colours are classes dpi-c0 … dpi-c5 of dpi-dual.css.
 */

const NS = 'http://www.w3.org/2000/svg';
let charts = 0;

const svg = (name, attributes = {}, children = []) => {
	const node = document.createElementNS(NS, name);
	for (const key of Object.keys(attributes))
		if (attributes[key] != null)
			node.setAttribute(key, attributes[key]);
	for (const child of children)
		node.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
	return node;
};

/* <title> and <desc> of a chart, and the attributes that name it by them. */
const described = (id, title) => {
	const desc = svg('desc', { id: `${id}-desc` });
	return {
		attributes: { 'role': 'img', 'aria-labelledby': `${id}-title`, 'aria-describedby': `${id}-desc` },
		nodes: [ svg('title', { id: `${id}-title` }, [ title ]), desc ],
		say: text => { if (desc.textContent != text) desc.textContent = text; }
	};
};

const plain = value => tables.count(value);

/* The next 1, 2 or 5 times a power of ten (of two for bytes it would be no rounder). */
const round_up = value => {
	if (!(value > 0))
		return 1;
	const power = 10 ** Math.floor(Math.log10(value));
	return [ 1, 2, 5, 10 ].find(step => step * power >= value * 0.9999) * power;
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

/* A swatch of a series' or slice's own colour, dash and pattern. */
const swatch = (draw, width = 22) => svg('svg', {
	'class': 'dpi-swatch', 'width': width, 'height': 12, 'viewBox': `0 0 ${width} 12`, 'aria-hidden': 'true', 'focusable': 'false'
}, draw);

const line = options => {
	const id = `dpi-chart-${++charts}`;
	const series = options.series.map((entry, i) => ({ format: plain, lane: 0, kind: 'line', ...entry, i: i }));
	const count = 1 + Math.max(...series.map(entry => entry.lane));
	const lanes = Array.from({ length: count }, (unused, i) => series.filter(entry => entry.lane == i));
	const height = options.height ?? 150;
	const top = 22, gap = 30, bottom = 24, left = 76, right = 12;
	const whole = top + count * height + (count - 1) * gap + bottom;
	const words = described(id, options.title);

	const marks = svg('g', { 'class': 'dpi-axis' });
	const curves = series.map(entry => ({
		area: entry.kind == 'area' ? svg('path', { 'class': `dpi-area dpi-c${entry.i % 6}` })
			: entry.kind == 'column' ? svg('path', { 'class': `dpi-fill dpi-column${entry.i % 2} dpi-c${entry.i % 6}` }) : null,
		path: svg('path', { 'class': `dpi-line dpi-c${entry.i % 6} dpi-dash${entry.i % 4}`, 'vector-effect': 'non-scaling-stroke' })
	}));
	const cursor = svg('g', { 'class': 'dpi-cursor', 'visibility': 'hidden' });
	const canvas = svg('svg', {
		...words.attributes, 'class': 'dpi-line-chart', 'height': whole, 'width': '100%', 'tabindex': 0, 'focusable': 'true'
	}, [ ...words.nodes, marks, ...curves.flatMap(curve => [ curve.area, curve.path ]).filter(Boolean), cursor ]);

	const figures = series.map(() => E('b', {}));
	const moment = E('span', { 'class': 'dpi-moment' });
	const readout = E('div', { 'class': 'dpi-readout' }, [
		...series.map((entry, i) => E('span', { 'class': 'dpi-key' }, [
			swatch([ svg('line', { 'x1': 0, 'x2': 22, 'y1': 6, 'y2': 6, 'class': `dpi-line dpi-c${i % 6} dpi-dash${i % 4}` }) ]),
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
			const high = data.max?.[lane] ?? round_up(peak);
			const y = value => from + height - Math.min(1, Math.max(0, value / high)) * height;
			if (options.lanes?.[lane])
				drawn.push(svg('text', { 'x': left, 'y': from - 8, 'class': 'dpi-lane' }, [ options.lanes[lane] ]));
			for (const part of [ 0, 0.5, 1 ]) {
				drawn.push(svg('line', { 'x1': left, 'x2': left + inner, 'y1': y(high * part), 'y2': y(high * part), 'class': part ? 'dpi-grid' : 'dpi-base' }));
				drawn.push(svg('text', { 'x': left - 8, 'y': y(high * part) + 4, 'text-anchor': 'end' }, [ entries[0].format(high * part) ]));
			}
			for (const at of ticks.found)
				drawn.push(svg('line', { 'x1': x(at), 'x2': x(at), 'y1': from, 'y2': from + height, 'class': 'dpi-grid' }));
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
				drawn.push(svg('text', { 'x': x(at), 'y': lowest + 17, 'text-anchor': 'middle' }, [ clock(at, ticks.step) ]));
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
			cursor.replaceChildren(svg('line', { 'x1': here, 'x2': here, 'y1': top, 'y2': top + count * height + (count - 1) * gap }));
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

const bars = options => {
	const format = options.format ?? plain;
	const body = E('tbody', {});
	const hollow = E('div', { 'class': 'dpi-hollow-text', 'hidden': '' }, [ options.empty ?? _('Nothing to show yet.') ]);
	const grid = E('table', { 'class': 'dpi-bars' }, [
		E('caption', { 'class': 'dpi-hidden' }, [ options.title ]),
		E('thead', { 'class': 'dpi-hidden' }, [ E('tr', {}, [
			E('th', { 'scope': 'col' }, [ options.name_title ?? _('Name') ]), E('td', {}),
			E('th', { 'scope': 'col' }, [ options.value_title ?? _('Value') ])
		]) ]),
		body
	]);
	const known = new Map();
	let entries = [];

	const row = name => {
		const bar = svg('rect', { 'class': 'dpi-bar dpi-c0', 'x': 0, 'y': 0, 'height': '100%', 'rx': 2, 'width': 0 });
		const value = E('td', { 'class': 'dpi-number' });
		const label = tables.wire(name, 60);
		const head = E('th', { 'scope': 'row' }, [ label ]);
		const tr = E('tr', {}, [
			head,
			E('td', { 'class': 'dpi-bar-cell', 'aria-hidden': 'true' }, [ svg('svg', { 'width': '100%', 'height': 10, 'focusable': 'false' }, [ bar ]) ]),
			value
		]);
		known.set(name, { tr: tr, bar: bar, value: value, head: head, label: label, button: null });
		return known.get(name);
	};

	return {
		node: E('div', { 'class': 'dpi-chart' }, [ grid, hollow ]),
		update: list => {
			entries = list;
			const most = Math.max(1e-9, ...entries.map(entry => entry.value));
			const names = new Set(entries.map(entry => entry.name));
			for (const [ name, found ] of known)
				if (!names.has(name)) {
					found.tr.remove();
					known.delete(name);
				}
			let here = body.firstChild;
			for (const entry of entries) {
				const found = known.get(entry.name) ?? row(entry.name);
				found.bar.setAttribute('width', `${(100 * entry.value / most).toFixed(2)}%`);
				const text = format(entry.value) + (entry.note ? ` · ${entry.note}` : '');
				if (found.value.textContent != text)
					found.value.textContent = text;
				if (entry.open && !found.button) {
					found.button = E('button', { 'type': 'button', 'class': 'dpi-open', 'click': () =>
						entries.find(candidate => candidate.name == entry.name)?.open() }, [ found.label ]);
					found.head.replaceChildren(found.button);
				}
				if (found.tr === here)
					here = here.nextSibling;
				else
					body.insertBefore(found.tr, here);
			}
			hollow.hidden = entries.length > 0;
			grid.hidden = entries.length == 0;
		}
	};
};

/* Strokes over a slice, so that neighbours differ without colour: none, diagonals, dots, across, upright, crossed. */
const PATTERNS = [
	'', 'M-2 10L10 -2M6 14L14 6', 'M3 3h2v2h-2zM9 9h2v2h-2z', 'M0 3h12M0 9h12', 'M3 0v12M9 0v12', 'M0 0L12 12M12 0L0 12'
];
const patterned = (id, i) => svg('pattern', { 'id': `${id}-p${i}`, 'width': 12, 'height': 12, 'patternUnits': 'userSpaceOnUse' }, [
	svg('rect', { 'width': 12, 'height': 12, 'class': `dpi-fill dpi-c${i}` }),
	svg('path', { 'd': PATTERNS[i], 'class': 'dpi-hatch' })
]);

const donut = options => {
	const id = `dpi-chart-${++charts}`;
	const format = options.format ?? plain, most = Math.min(options.slices ?? 6, PATTERNS.length);
	const words = described(id, options.title);
	const ring = svg('g', {});
	const total = svg('text', { 'x': 80, 'y': 80, 'text-anchor': 'middle', 'class': 'dpi-total' });
	const centre = svg('text', { 'x': 80, 'y': 97, 'text-anchor': 'middle', 'class': 'dpi-centre' }, [ options.centre ?? '' ]);
	const canvas = svg('svg', { ...words.attributes, 'class': 'dpi-donut', 'viewBox': '0 0 160 160', 'width': 160, 'height': 160 },
		[ ...words.nodes, svg('defs', {}, PATTERNS.map((unused, i) => patterned(id, i))), ring, total, centre ]);
	const body = E('tbody', {});
	const legend = E('table', { 'class': 'dpi-legend' }, [
		E('caption', { 'class': 'dpi-hidden' }, [ options.title ]),
		E('thead', { 'class': 'dpi-hidden' }, [ E('tr', {}, [
			E('th', { 'scope': 'col' }, [ options.name_title ?? _('Name') ]),
			E('th', { 'scope': 'col' }, [ options.value_title ?? _('Value') ]), E('th', { 'scope': 'col' }, [ _('Share') ])
		]) ]),
		body
	]);
	const hollow = E('div', { 'class': 'dpi-hollow-text', 'hidden': '' }, [ options.empty ?? _('Nothing to show yet.') ]);
	const drawing = E('div', { 'class': 'dpi-donut-box' }, [ canvas, legend ]);

	const arc = (from, to) => {
		// A full circle has no arc: two halves draw it.
		const spot = (part, radius) => `${(80 + radius * Math.sin(2 * Math.PI * part)).toFixed(2)} ${(80 - radius * Math.cos(2 * Math.PI * part)).toFixed(2)}`;
		if (to - from > 0.9999)
			return `${arc(0, 0.5)}${arc(0.5, 0.9998)}`;
		const far = to - from > 0.5 ? 1 : 0;
		return `M${spot(from, 76)}A76 76 0 ${far} 1 ${spot(to, 76)}L${spot(to, 48)}A48 48 0 ${far} 0 ${spot(from, 48)}Z`;
	};

	return {
		node: E('div', { 'class': 'dpi-chart' }, [ drawing, hollow ]),
		update: list => {
			const some = list.filter(entry => entry.value > 0);
			const sum = some.reduce((all, entry) => all + entry.value, 0);
			const kept = some.length > most ? some.slice(0, most - 1) : some;
			const rest = sum - kept.reduce((all, entry) => all + entry.value, 0);
			const shares = rest > 0 ? [ ...kept, { name: _('other'), value: rest } ] : kept;
			hollow.hidden = sum > 0;
			drawing.hidden = sum == 0;
			let from = 0;
			ring.replaceChildren(...shares.map((entry, i) => {
				const to = from + entry.value / sum;
				const slice = svg('path', { 'd': arc(from, to), 'fill': `url(#${id}-p${i})`, 'class': 'dpi-slice' });
				from = to;
				return slice;
			}));
			total.textContent = format(sum);
			body.replaceChildren(...shares.map((entry, i) => E('tr', {}, [
				E('th', { 'scope': 'row' }, [
					swatch([ svg('rect', { 'width': 16, 'height': 12, 'rx': 2, 'fill': `url(#${id}-p${i})` }) ], 16), tables.wire(entry.name, 40)
				]),
				E('td', { 'class': 'dpi-number' }, [ format(entry.value) ]),
				E('td', { 'class': 'dpi-number dpi-share' }, [ tables.percent(entry.value / sum) ])
			])));
			words.say(shares.map(entry => `${entry.name.slice(0, 40)}: ${tables.percent(entry.value / sum)}`).join(', '));
		}
	};
};

const sparkline = options => {
	const id = `dpi-chart-${++charts}`;
	const format = options.format ?? plain, width = options.width ?? 120, height = options.height ?? 28;
	const words = described(id, options.title);
	const path = svg('path', { 'class': 'dpi-line dpi-c0' });
	const end = svg('circle', { 'class': 'dpi-fill dpi-c0', 'r': 2.5, 'visibility': 'hidden' });
	const canvas = svg('svg', {
		...words.attributes, 'class': 'dpi-sparkline', 'width': width, 'height': height, 'viewBox': `0 0 ${width} ${height}`,
		'preserveAspectRatio': options.stretch ? 'none' : null
	}, [ ...words.nodes, svg('line', { 'class': 'dpi-base', 'x1': 0, 'x2': width, 'y1': height - 1, 'y2': height - 1 }), path, end ]);
	return {
		node: canvas,
		update: points => {
			const some = points.filter(point => point[1] != null);
			end.setAttribute('visibility', some.length && !options.stretch ? 'visible' : 'hidden');
			if (!some.length) {
				path.setAttribute('d', '');
				words.say(_('No figures for this period yet.'));
				return;
			}
			const low = options.min ?? 0, high = Math.max(options.max ?? Math.max(...some.map(point => point[1])), low + 1e-9);
			const first = some[0][0], span = Math.max(some[some.length - 1][0] - first, 1e-9);
			const x = at => 3 + (at - first) / span * (width - 6), y = value => height - 3 - (value - low) / (high - low) * (height - 6);
			path.setAttribute('d', some.map((point, i) => i == 0 ? `M${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`
				: `${options.step ? `H${x(point[0]).toFixed(1)}V${y(point[1]).toFixed(1)}` : `L${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`}`).join('') + (some.length == 1 ? 'h.1' : ''));
			const last = some[some.length - 1];
			end.setAttribute('cx', x(last[0]).toFixed(1));
			end.setAttribute('cy', y(last[1]).toFixed(1));
			const values = some.map(point => point[1]);
			words.say(_('Last %s, highest %s, lowest %s.').format(format(last[1]), format(Math.max(...values)), format(Math.min(...values))));
		}
	};
};

return baseclass.extend({ line: line, bars: bars, donut: donut, sparkline: sparkline });
