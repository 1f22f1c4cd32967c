'use strict';
'require baseclass';
'require dom';
'require session';
'require validation';

/* A table of rows that are sorted by a click on a heading. */

const hex = (words, digits) => words.map(word => word.toString(16).padStart(digits, '0')).join('');

/** Addresses, durations and numbers in an order of their own; anything else as text. */
function sortKey(value) {
	const address = /^([0-9a-fA-F:.]+)(?:\/(\d+))?$/.exec(value);
	if (address) {
		const words = validation.parseIPv6(address[1]) ?? validation.parseIPv4(address[1]);
		if (words)
			return `${hex(words, 4)}${hex([ +(address[2] ?? 128) ], 2)}`;
	}
	const age = /^(?:(\d+)d )?(\d+)h (\d+)m (\d+)s$/.exec(value);
	return age ? age.slice(1).map(part => (part ?? '0').padStart(5, '0')).join('') : value;
}

const Table = baseclass.extend({
	__init__(captions, options = {}, placeholder) {
		this.options = options;
		this.id = options.id ?? `table${Math.floor(Math.random() * 0xffffffff).toString(16)}`;
		this.head = E('tr', { 'class': 'tr table-titles' }, captions.filter(caption => caption != null).map((caption, i) => {
			const sortable = options.sortable !== false && options.sortable?.[i] !== false;
			const th = E('th', { 'class': 'th', 'data-sortable-row': sortable || null, 'click': sortable ? () => this.sort(i) : null },
				[ caption ]);
			th.classList.add(...L.toArray(options.captionClasses?.[i]));
			return th;
		}));
		this.node = E('table', { 'id': this.id, 'class': 'table' }, [ this.head ]);
		this.node.classList.add(...L.toArray(options.classes));
		if (placeholder)
			this.node.appendChild(this._empty(placeholder));
		dom.bindClassInstance(this.node, this);
	},

	_empty(text) {
		return E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td', 'colspan': this.head.children.length }, text) ]);
	},

	_state() {
		return this.sorted ??= session.getLocalData('tablesort')?.[`${document.body.dataset.page}.${this.id}`] ?? null;
	},

	deriveSortKey(value, index) {
		const hint = this.options?.sortable?.[index];
		const text = dom.elem(value) ? value.dataset?.value ?? value.textContent.trim() : value;
		if (hint === 'numeric')
			return +text;
		return hint === 'ignorecase' ? String(text).toLowerCase() : sortKey(String(text));
	},

	sort(index) {
		const descending = this._state()?.[0] === index && !this._state()[1];
		this.sorted = [ index, descending ];
		session.setLocalData('tablesort', {
			...session.getLocalData('tablesort'), [`${document.body.dataset.page}.${this.id}`]: this.sorted
		});
		this.update(this.data ?? [], this.shown);
	},

	update(rows, placeholder = this.options.placeholder ?? _('No data')) {
		if (!Array.isArray(rows))
			return;
		this.shown = placeholder;
		const state = this._state();
		if (state) {
			const key = row => this.deriveSortKey(Array.isArray(row[state[0]]) ? row[state[0]][0] : row[state[0]], state[0]);
			rows = [ ...rows ].sort((a, b) => L.naturalCompare(key(a), key(b)) * (state[1] ? -1 : 1));
		}
		this.data = rows;
		const heads = [ ...this.head.children ];
		heads.forEach((th, i) => state?.[0] === i ? th.setAttribute('data-sort-direction', state[1] ? 'desc' : 'asc')
			: th.removeAttribute('data-sort-direction'));
		const body = rows.map((row, n) => E('tr', { 'class': `tr cbi-rowstyle-${n % 2 + 1}` }, heads.map((th, i) => {
			const [ raw, shown ] = Array.isArray(row[i]) ? row[i] : [ null, row[i] ];
			const td = E('td', { 'class': 'td', 'data-title': th.textContent.trim() || null, 'data-value': raw },
				shown instanceof DocumentFragment ? shown.cloneNode(true) : shown ?? '');
			td.classList.add(...L.toArray(this.options.captionClasses?.[i]));
			return td;
		})));
		if (!body.length)
			body.push(this._empty(placeholder));
		this.node.replaceChildren(this.head, ...body);
		return this.node;
	},

	render() {
		return this.node;
	}
});

return baseclass.extend({ Table });
