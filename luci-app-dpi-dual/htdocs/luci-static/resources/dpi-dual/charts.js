'use strict';
'require baseclass';
'require dpi-dual.linechart as linechart';
'require dpi-dual.svg as svg';
'require dpi-dual.tables as tables';

/*
 * Charts in SVG: in the theme's colours, and readable without them (dashes, patterns, labels), with the keyboard
 * and by a screen reader. Each answers { node, update(data) }; update changes the chart in place.
 *
 *   line(options)       figures over time
 *     title             what it shows (the chart's accessible name)
 *     series            [ { name, format(value) -> string, lane: 0, kind: 'line' | 'area' | 'step' | 'dots' | 'column' } ]; lanes are strips one
 *                       above another over one time axis, each with a y axis of its own, for figures of different units
 *                       binary: true for bytes, whose axis has round KiB, MiB … at its top
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
 * In line(), of linechart.js, the left and right arrow keys, Home and End move a cursor whose figures are read out below the chart;
 * 'Show as table' lists the points. Colours are classes dpi-c0 … dpi-c5 of dpi-dual.css.
 */

const plain = value => tables.count(value);

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
		const bar = svg.node('rect', { 'class': 'dpi-bar dpi-c0', 'x': 0, 'y': 0, 'height': '100%', 'rx': 2, 'width': 0 });
		const value = E('td', { 'class': 'dpi-number' });
		const label = tables.wire(name, 60);
		const head = E('th', { 'scope': 'row' }, [ label ]);
		const tr = E('tr', {}, [
			head,
			E('td', { 'class': 'dpi-bar-cell', 'aria-hidden': 'true' }, [ svg.node('svg', { 'width': '100%', 'height': 10, 'focusable': 'false' }, [ bar ]) ]),
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
const patterned = (id, i) => svg.node('pattern', { 'id': `${id}-p${i}`, 'width': 12, 'height': 12, 'patternUnits': 'userSpaceOnUse' }, [
	svg.node('rect', { 'width': 12, 'height': 12, 'class': `dpi-fill dpi-c${i}` }),
	svg.node('path', { 'd': PATTERNS[i], 'class': 'dpi-hatch' })
]);

const donut = options => {
	const id = svg.next_id();
	const format = options.format ?? plain, most = Math.min(options.slices ?? 6, PATTERNS.length);
	const words = svg.described(id, options.title);
	const ring = svg.node('g', {});
	const total = svg.node('text', { 'x': 80, 'y': 80, 'text-anchor': 'middle', 'class': 'dpi-total' });
	const centre = svg.node('text', { 'x': 80, 'y': 97, 'text-anchor': 'middle', 'class': 'dpi-centre' }, [ options.centre ?? '' ]);
	const canvas = svg.node('svg', { ...words.attributes, 'class': 'dpi-donut', 'viewBox': '0 0 160 160', 'width': 160, 'height': 160 },
		[ ...words.nodes, svg.node('defs', {}, PATTERNS.map((unused, i) => patterned(id, i))), ring, total, centre ]);
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
				const slice = svg.node('path', { 'd': arc(from, to), 'fill': `url(#${id}-p${i})`, 'class': 'dpi-slice' });
				from = to;
				return slice;
			}));
			total.textContent = format(sum);
			body.replaceChildren(...shares.map((entry, i) => E('tr', {}, [
				E('th', { 'scope': 'row' }, [
					svg.swatch([ svg.node('rect', { 'width': 16, 'height': 12, 'rx': 2, 'fill': `url(#${id}-p${i})` }) ], 16), tables.wire(entry.name, 40)
				]),
				E('td', { 'class': 'dpi-number' }, [ format(entry.value) ]),
				E('td', { 'class': 'dpi-number dpi-share' }, [ tables.percent(entry.value / sum) ])
			])));
			words.say(shares.map(entry => `${entry.name.slice(0, 40)}: ${tables.percent(entry.value / sum)}`).join(', '));
		}
	};
};

const sparkline = options => {
	const id = svg.next_id();
	const format = options.format ?? plain, width = options.width ?? 120, height = options.height ?? 28;
	const words = svg.described(id, options.title);
	const path = svg.node('path', { 'class': 'dpi-line dpi-c0' });
	const end = svg.node('circle', { 'class': 'dpi-fill dpi-c0', 'r': 2.5, 'visibility': 'hidden' });
	const canvas = svg.node('svg', {
		...words.attributes, 'class': 'dpi-sparkline', 'width': width, 'height': height, 'viewBox': `0 0 ${width} ${height}`,
		'preserveAspectRatio': options.stretch ? 'none' : null
	}, [ ...words.nodes, svg.node('line', { 'class': 'dpi-base', 'x1': 0, 'x2': width, 'y1': height - 1, 'y2': height - 1 }), path, end ]);
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

return baseclass.extend({ line: linechart.line, bars: bars, donut: donut, sparkline: sparkline });
