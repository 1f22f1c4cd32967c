'use strict';
'require baseclass';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/*
 * All rows of a list, page after page, as a CSV or JSON file.
 *
 *   buttons({ name, label, key, columns, page(before) -> Promise of an answer, id(row), about() -> object })  -> Node
 *     name    of the file, a date and the ending are added
 *     label   what is exported, for screen readers
 *     key     under which an answer has its rows; `next` is followed until there is none
 *     columns that a CSV file has first, and alone where there is no row; what else rows have follows
 *     id      rows that grow while pages are turned may come twice: the later one counts
 *     about   what a JSON file says besides the rows
 *
 * A spreadsheet runs text that begins with = + - or @ as a formula, and names on the wire are anybody's: such cells
 * get an apostrophe in front (OWASP, CSV injection).
 */

/* More than the router keeps of anything. */
const MOST = 20000;
const PAGE = 500;

const plain = value => Array.isArray(value) ? value.map(plain).join(' ')
	: value !== null && typeof value == 'object' ? JSON.stringify(value) : String(value ?? '');

const cell = value => {
	if (typeof value == 'number' || typeof value == 'boolean')
		return String(value);
	const text = plain(value);
	const safe = /^[\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20|%]|^[\t\r\n]/.test(text) ? `'${text}` : text;
	return `"${safe.replace(/"/g, '""')}"`;
};

const csv = (rows, columns) => {
	const names = [ ...new Set([ ...columns, ...rows.flatMap(row => Object.keys(row)) ]) ];
	const lines = [ names.map(cell).join(','), ...rows.map(row => names.map(name => cell(row[name])).join(',')) ];
	return lines.join('\r\n') + '\r\n';
};

const save = (name, type, text) => {
	const address = URL.createObjectURL(new Blob([ text ], { type: type }));
	const link = E('a', { 'href': address, 'download': name, 'style': 'display:none' });
	document.body.appendChild(link);
	link.click();
	link.remove();
	window.setTimeout(() => URL.revokeObjectURL(address), 10000);
};

/* Every row; `told(rows so far, total)` after each page, false from it ends the work. */
const collect = async (options, told) => {
	const rows = new Map();
	let before = '', total = 0;
	for (;;) {
		const answer = await options.page({ limit: PAGE, ...(before ? { before: before } : {}) });
		if (dpi.failed(answer))
			return answer;
		for (const row of answer[options.key] ?? [])
			rows.set(options.id(row), row);
		total = answer.total ?? rows.size;
		before = answer.next ?? '';
		if (!told(rows.size, total))
			return null;
		if (!before || rows.size >= MOST)
			return { rows: [ ...rows.values() ].slice(0, MOST), complete: !before };
	}
};

const buttons = options => {
	const said = E('span', { 'class': 'dpi-quiet', 'role': 'status' });
	let stopped = false;
	const cancel = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'hidden': '', 'click': () => { stopped = true; } }, [ _('Cancel') ]);

	const run = async format => {
		stopped = false;
		cancel.hidden = false;
		starts.forEach(button => { button.disabled = true; });
		said.textContent = _('Collecting…');
		const found = await collect(options, (so_far, total) => {
			said.textContent = _('%s of %s rows…').format(tables.count(so_far), tables.count(Math.max(so_far, total)));
			return !stopped;
		});
		cancel.hidden = true;
		starts.forEach(button => { button.disabled = false; });
		if (found === null)
			said.textContent = _('Cancelled.');
		else if (dpi.failed(found)) {
			said.textContent = _('Not exported.');
			dpi.report(found);
		}
		else {
			const stamp = new Date(tables.now() * 1000).toISOString().slice(0, 19).replace(/:/g, '-');
			if (format == 'csv')
				save(`${options.name}-${stamp}.csv`, 'text/csv;charset=utf-8', '\ufeff' + csv(found.rows, options.columns ?? []));
			else
				save(`${options.name}-${stamp}.json`, 'application/json', JSON.stringify({
					exported_at: Math.round(tables.now()), ...(options.about?.() ?? {}), complete: found.complete, [options.key]: found.rows
				}, null, 1));
			said.textContent = found.complete ? _('%s rows exported.').format(tables.count(found.rows.length))
				: _('The first %s rows exported: more do not go into one file.').format(tables.count(found.rows.length));
		}
	};

	const start = (format, title) => E('button', {
		'type': 'button', 'class': 'btn cbi-button', 'data-export': format,
		'aria-label': _('Export %s as %s').format(options.label, title), 'click': () => run(format)
	}, [ title ]);
	const starts = [ start('csv', 'CSV'), start('json', 'JSON') ];
	return E('span', { 'class': 'dpi-export' }, [ ...starts, cancel, said ]);
};

return baseclass.extend({ buttons: buttons, collect: collect });
