'use strict';
'require baseclass';
'require dpi-dual.severity as severity';

/*
 * How figures are written, and the table that shows many of them.
 *
 * Formatting (every function takes null or NaN too and answers '–'):
 *   bytes(n)         bytes, steps of 1024                     '1.23 MiB'
 *   rate(bps)        bits per second, steps of 1000           '4.56 Mbit/s'
 *   count(n)         whole number, grouped as the language does
 *   decimal(n, d=1)  number with d decimals
 *   percent(f)       fraction 0..1                            '42 %'
 *   duration(s)      seconds                                  '2 h 5 min'
 *   age(at)          Unix seconds                             '3 min ago'; time(at) in a title says when
 *   time(at)         Unix seconds, local: time alone today, else with the date
 *   unix(timestamp)  ISO-8601 text -> Unix seconds (or null)
 *   event(type)      event type of a threat in words          'waf_block' -> 'WAF block'
 *   clock(at)        tell the router's time (Unix seconds) once an answer: ages are counted from it; now() is that time
 *
 * Nodes:
 *   wire(text, max=80)      text off the wire (names, paths, user agents): isolated <bdi>, cut, the rest in its title
 *   badge(text, kind)       a small label; kind: 'ok', 'info', 'warning', 'error' or ''
 *   score(n)                0..100 as a badge, with a word for its level
 *   notice(kind, title, children)   a calm box for a problem or a hint
 *   empty(title, hint)      what a list shows that has nothing in it: what is so, and what to do next
 *
 * NEVER hand E() a bare string that came from a router: LuCI puts a bare string in as HTML. E('p', {}, [ text ]) is text.
 *
 * create(options) -> { node, update(rows, more), filter(text), busy(flag) }
 *   caption     what the table is (read to screen readers)
 *   columns     [ { key, title, value(row) -> what it is sorted and filtered by (number or string),
 *                   cell(row) -> string or Node (default: the value), number: right-aligned, sortable: true,
 *                   descending: first click sorts downwards (default for number), wide: takes the room left, nowrap: stays in one line,
 *                   hint: title of the header, extra: left out on a phone } ]
 *   id(row)     -> string: what stays the same row from one update to the next
 *   sort        { key, descending } at first; absent: the rows' own order
 *   filter      true, or the placeholder of the filter box; absent: no filter box
 *   search(row) -> text that the filter looks in (default: all columns' values)
 *   filtered(text)  is told what the filter box holds, so that rows not loaded yet can be asked for
 *   page        rows shown at a time (default 50): thousands of rows never mean thousands of nodes
 *   empty       Node or () -> Node shown instead when there is no row at all: see empty()
 *   open(row)   makes each row's first cell a button that calls it
 *   selected(row) -> true for the row that is open: marked, aria-current
 *   more()      -> Promise: 'Load more' was pressed (offered while update's `more` is true)
 *   tools       [Node, …] put beside the filter box (export buttons, selects)
 * update(rows, more) changes cells in place: focus, scroll and selection stay. A cell's Node is only exchanged when it
 * looks different, so its handlers may be older than the row: let them use ids, not the row's figures.
 */

const NOTHING = '–';
const LANGUAGE = (() => {
	const own = document.documentElement.lang || undefined;
	try {
		new Intl.NumberFormat(own);
		return own;
	}
	catch (error) {
		return undefined;  // a tag that is no BCP 47: the browser's language
	}
})();

/* Intl objects are slow to make; one for each set of options is kept. */
const formats = new Map();
const intl = (kind, options) => {
	const key = kind.name + JSON.stringify(options);
	if (!formats.has(key))
		formats.set(key, new kind(LANGUAGE, options));
	return formats.get(key);
};

const known = n => n != null && Number.isFinite(Number(n));
const decimal = (n, digits = 1) => known(n)
	? intl(Intl.NumberFormat, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(n) : NOTHING;
const count = n => known(n) ? intl(Intl.NumberFormat, { maximumFractionDigits: 0 }).format(n) : NOTHING;

const scaled = (n, step, units) => {
	if (!known(n))
		return NOTHING;
	let value = Number(n), unit = 0;
	while (Math.abs(value) >= step * 0.9995 && unit < units.length - 1) {
		value /= step;
		unit++;
	}
	const size = Math.abs(value);
	// Three digits say enough, and keep columns from dancing.
	const digits = (unit == 0 && Number.isInteger(value)) || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
	return `${decimal(value, digits)} ${units[unit]}`;
};
const bytes = n => scaled(n, 1024, [ 'B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB' ]);
const rate = bps => scaled(bps, 1000, [ 'bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s' ]);
const percent = part => known(part) ? `${decimal(part * 100, part > 0 && part < 0.0995 ? 1 : 0)} %` : NOTHING;

const duration = seconds => {
	if (!known(seconds))
		return NOTHING;
	const s = Math.max(0, Math.round(seconds));
	if (s < 60)
		return _('%d s').format(s);
	if (s < 3600)
		return s % 60 && s < 600 ? _('%d min %d s').format(s / 60, s % 60) : _('%d min').format(s / 60);
	if (s < 86400)
		return s % 3600 >= 60 ? _('%d h %d min').format(s / 3600, s % 3600 / 60) : _('%d h').format(s / 3600);
	return s % 86400 >= 3600 ? _('%d d %d h').format(s / 86400, s % 86400 / 3600) : _('%d d').format(s / 86400);
};

let ahead = 0;  // seconds that the router's clock is ahead of the browser's
const now = () => Date.now() / 1000 + ahead;
const clock = at => { ahead = known(at) ? at - Date.now() / 1000 : 0; };

const age = at => {
	if (!known(at) || at <= 0)
		return NOTHING;
	const s = Math.max(0, now() - at);
	if (s < 5)
		return _('now');
	// One unit is enough for an age.
	const rounded = s < 60 ? Math.floor(s) : s < 3600 ? s - s % 60 : s < 86400 ? s - s % 3600 : s - s % 86400;
	return _('%s ago').format(duration(rounded));
};

const time = at => {
	if (!known(at) || at <= 0)
		return NOTHING;
	const moment = new Date(at * 1000), today = new Date(now() * 1000);
	const clockwise = { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
	return intl(Intl.DateTimeFormat, moment.toDateString() == today.toDateString()
		? clockwise : { year: 'numeric', month: 'short', day: 'numeric', ...clockwise }).format(moment);
};
const unix = timestamp => {
	const at = Date.parse(timestamp) / 1000;
	return Number.isFinite(at) ? at : null;
};

const event = type => ({
	waf_block: _('WAF block'),
	waf_alert: _('WAF alert'),
	crowdsec_ban: _('CrowdSec ban'),
	dpi_threat: _('Risky flow'),
	scanner: _('Scanner'),
	brute_force: _('Brute force'),
	manual: _('By hand')
})[type] ?? String(type ?? NOTHING);

/* Text nodes and attributes only. */
const wire = (text, max = 80) => {
	const whole = String(text ?? '');
	const characters = Array.from(whole.slice(0, 2 * max + 2));
	const cut = characters.length > max || whole.length > 2 * max + 2;
	return E('bdi', { 'class': 'dpi-wire', ...(cut ? { 'title': whole.slice(0, 512) } : {}) },
		[ cut ? characters.slice(0, max - 1).join('') + '…' : whole ]);
};

const badge = (text, kind) => E('span', { 'class': `dpi-badge ${kind ? `dpi-${kind}` : ''}` }, [ text ]);

const score = n => {
	if (!known(n))
		return badge(NOTHING, '');
	const [ word, kind ] = severity.WORDS[severity.of(n)];
	return E('span', { 'class': `dpi-badge dpi-score ${kind ? `dpi-${kind}` : ''}` }, [ count(n), ' ', E('small', {}, [ word ]) ]);
};

const notice = (kind, title, children = []) => E('div', { 'class': `dpi-notice dpi-${kind}` }, [
	E('strong', {}, [ title ]), ...[].concat(children)
]);

const empty = (title, hint) => E('div', { 'class': 'dpi-empty' }, [
	E('strong', {}, [ title ]), hint ? E('p', {}, [].concat(hint)) : null
].filter(Boolean));

const order = new Intl.Collator(LANGUAGE, { numeric: true, sensitivity: 'base' });
const compare = (a, b) => typeof a == 'number' && typeof b == 'number' ? a - b
	: a == null || a === '' ? (b == null || b === '' ? 0 : -1) : b == null || b === '' ? 1 : order.compare(a, b);

let tables = 0;

const create = options => {
	const columns = options.columns.map(column => ({ sortable: true, ...column }));
	const size = options.page ?? 50;
	const name = `dpi-table-${++tables}`;
	const shown = new Map();  // id -> { tr, cells: [ { td, last } ] }
	let rows = [], more = false, page = 0, needle = '';
	let sort = options.sort ? { ...options.sort } : null;

	const body = E('tbody', {});
	const heads = columns.map(column => {
		const button = column.sortable
			? E('button', { 'type': 'button', 'class': 'dpi-sort', 'title': column.hint ?? null, 'click': () => sort_by(column) }, [ column.title ])
			: column.title;
		return E('th', { 'scope': 'col', 'class': column.number ? 'dpi-number' : '' }, [ button ]);
	});
	const grid = E('table', { 'class': 'dpi-table', 'role': 'table', 'aria-label': options.caption }, [
		E('thead', { 'role': 'rowgroup' }, [ E('tr', { 'role': 'row' }, heads) ]), body
	]);
	heads.forEach(th => th.setAttribute('role', 'columnheader'));
	body.setAttribute('role', 'rowgroup');

	const box = options.filter ? E('input', {
		'type': 'search', 'class': 'cbi-input-text dpi-filter', 'autocomplete': 'off', 'spellcheck': 'false',
		'placeholder': options.filter === true ? _('Filter…') : options.filter,
		'aria-label': _('Filter: %s').format(options.caption), 'aria-controls': name,
		'input': ev => { needle = ev.currentTarget.value.trim().toLowerCase(); page = 0; draw(); options.filtered?.(needle); }
	}) : null;
	/* On a phone the header row is not shown: the same choice as a select. */
	const chosen = columns.some(column => column.sortable) ? E('select', {
		'class': 'cbi-input-select dpi-sort-select', 'aria-label': _('Sort by'),
		'change': ev => {
			const [ key, way ] = ev.currentTarget.value.split('|');
			sort = key ? { key: key, descending: way == 'd' } : null;
			draw();
		}
	}, [
		E('option', { 'value': '' }, [ _('Sort by…') ]),
		...columns.filter(column => column.sortable).flatMap(column => [
			E('option', { 'value': `${column.key}|d` }, [ `${column.title} ↓` ]),
			E('option', { 'value': `${column.key}|a` }, [ `${column.title} ↑` ])
		])
	]) : null;
	const said = E('span', { 'class': 'dpi-said', 'role': 'status' });
	const back = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'aria-label': _('Rows before'), 'click': () => turn(-1) }, [ '‹' ]);
	const forth = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'aria-label': _('Rows after'), 'click': () => turn(1) }, [ '›' ]);
	const load = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'click': () => {
		load.disabled = true;
		Promise.resolve(options.more()).finally(() => { load.disabled = false; });
	} }, [ _('Load more') ]);
	const foot = E('div', { 'class': 'dpi-foot' }, [ said, E('span', { 'class': 'dpi-pager' }, [ back, forth, load ]) ]);
	const blank = E('div', { 'class': 'dpi-blank' });
	const scroller = E('div', { 'class': 'dpi-scroll', 'id': name }, [ grid ]);
	const node = E('div', { 'class': 'dpi-list' }, [
		E('div', { 'class': 'dpi-tools' }, [ box, chosen, ...(options.tools ?? []) ].filter(Boolean)),
		scroller, blank, foot
	]);

	const sort_by = column => {
		const downwards = column.descending ?? column.number ?? false;
		sort = sort?.key == column.key ? { key: column.key, descending: !sort.descending } : { key: column.key, descending: downwards };
		page = 0;
		draw();
	};
	const turn = step => { page += step; draw(); scroller.scrollTop = 0; };

	const value = (column, row) => column.value ? column.value(row) : row[column.key];
	const haystack = row => (options.search ? options.search(row)
		: columns.map(column => value(column, row) ?? '').join('\n')).toLowerCase();

	const content = (column, row, first) => {
		const made = column.cell ? column.cell(row) : String(value(column, row) ?? NOTHING);
		if (!first || !options.open)
			return made;
		return E('button', { 'type': 'button', 'class': 'dpi-open', 'click': () => {
			const id = options.id(row), found = rows.find(candidate => options.id(candidate) == id);
			options.open(found ?? row);
		} }, [ made ]);
	};

	const fill = (cell, made) => {
		if (typeof made == 'string') {
			if (cell.last === made)
				return;
			cell.td.textContent = made;
		}
		else {
			const old = cell.td.firstChild;
			if (old && old.nodeType == 1 && old.isEqualNode(made))
				return;
			const focus = cell.td.contains(document.activeElement);
			cell.td.replaceChildren(made);
			if (focus)
				(cell.td.querySelector('button, a, input, select') ?? cell.td).focus({ preventScroll: true });
		}
		cell.last = made;
	};

	const line = id => {
		const tr = E('tr', { 'role': 'row' });
		const cells = columns.map(column => ({
			td: tr.appendChild(E('td', {
				'role': 'cell', 'data-title': column.title,
				'class': [ column.number && 'dpi-number', column.wide && 'dpi-wide', column.nowrap && 'dpi-nowrap', column.extra && 'dpi-extra' ].filter(Boolean).join(' ')
			})),
			last: null
		}));
		shown.set(id, { tr: tr, cells: cells });
		return shown.get(id);
	};

	const draw = () => {
		let list = needle ? rows.filter(row => haystack(row).includes(needle)) : rows.slice();
		const column = sort && columns.find(candidate => candidate.key == sort.key);
		if (column) {
			const way = sort.descending ? -1 : 1;
			list = list.map(row => [ value(column, row), row ]).sort((a, b) => way * compare(a[0], b[0])).map(pair => pair[1]);
		}
		const pages = Math.max(1, Math.ceil(list.length / size));
		page = Math.min(Math.max(page, 0), pages - 1);
		const part = list.slice(page * size, (page + 1) * size);

		heads.forEach((th, i) => columns[i].sortable &&
			th.setAttribute('aria-sort', sort?.key != columns[i].key ? 'none' : sort.descending ? 'descending' : 'ascending'));
		if (chosen)
			chosen.value = sort ? `${sort.key}|${sort.descending ? 'd' : 'a'}` : '';

		const active = document.activeElement;
		const wanted = new Set(part.map(row => options.id(row)));
		for (const [ id, entry ] of shown)
			if (!wanted.has(id)) {
				entry.tr.remove();
				shown.delete(id);
			}
		let here = body.firstChild;
		for (const row of part) {
			const id = options.id(row), entry = shown.get(id) ?? line(id);
			columns.forEach((col, i) => fill(entry.cells[i], content(col, row, i == 0)));
			if (options.selected) {
				const open = options.selected(row);
				entry.tr.classList.toggle('dpi-current', open);
				open ? entry.tr.setAttribute('aria-current', 'true') : entry.tr.removeAttribute('aria-current');
			}
			if (entry.tr === here)
				here = here.nextSibling;
			else
				body.insertBefore(entry.tr, here);
		}
		// A row that was moved loses the focus that was in it.
		if (active !== document.activeElement && active?.isConnected && body.contains(active))
			active.focus({ preventScroll: true });

		const none = rows.length == 0;
		scroller.hidden = list.length == 0;
		blank.hidden = list.length > 0;
		if (none && options.empty)
			blank.replaceChildren(typeof options.empty == 'function' ? options.empty() : options.empty);
		else if (list.length == 0)
			blank.replaceChildren(none ? empty(_('Nothing to show yet.')) : empty(_('No row matches the filter.'), _('Empty the filter box to see all %s rows.').format(count(rows.length))));
		back.hidden = forth.hidden = pages < 2;
		back.disabled = page == 0;
		forth.disabled = page >= pages - 1;
		load.hidden = !(options.more && more && page >= pages - 1);
		const text = list.length == 0 ? '' : pages < 2 && list.length == rows.length ? N_(list.length, '%s row', '%s rows').format(count(list.length))
			: _('%s–%s of %s').format(count(page * size + 1), count(page * size + part.length), count(list.length));
		if (said.textContent != text)
			said.textContent = text;
		foot.hidden = pages < 2 && load.hidden && !needle;
	};

	return {
		node: node,
		update: (list, rest = false) => { rows = list; more = rest; draw(); },
		filter: text => { if (box) box.value = text; needle = text.trim().toLowerCase(); page = 0; draw(); },
		busy: flag => grid.setAttribute('aria-busy', flag ? 'true' : 'false')
	};
};

/* One style sheet for all pages of the suite. */
if (!document.querySelector('link[data-dpi-dual]'))
	document.head.appendChild(E('link', {
		'rel': 'stylesheet', 'data-dpi-dual': '',
		'href': `${L.resource('dpi-dual/dpi-dual.css')}?v=${encodeURIComponent(L.env.resource_version ?? '')}`
	}));

return baseclass.extend({
	bytes: bytes, rate: rate, count: count, decimal: decimal, percent: percent,
	duration: duration, age: age, time: time, unix: unix, clock: clock, now: now,
	event: event, wire: wire, badge: badge, score: score, notice: notice, empty: empty,
	create: create
});
