'use strict';
'require baseclass';
'require dom';
'require ui.element as element';

/* A list to choose from that opens under its button: one value or several, free text, or a button with variants. */

const flag = value => value ? '' : null;

function closeAll(except) {
	for (const open of document.querySelectorAll('.cbi-dropdown[open]'))
		if (open !== except)
			dom.callClassMethod(open, 'close');
}

window.addEventListener('click', ev => closeAll(ev.target.closest?.('.cbi-dropdown')));

const Dropdown = element.Element.extend({
	__init__(value, choices, options) {
		this.values = Array.isArray(value) ? value : value != null && value !== '' ? [ value ] : [];
		this.choices = L.isObject(choices) ? choices : {};
		this.options = {
			sort: true,
			multiple: Array.isArray(value),
			optional: true,
			select_placeholder: _('-- Please choose --'),
			custom_placeholder: _('-- custom --'),
			display_items: 3,
			create: false,
			...options
		};
	},

	render() {
		const { id, multiple, optional, disabled, create, sort } = this.options;
		const keys = Array.isArray(sort) ? [ ...sort ] : Object.keys(this.choices);
		if (sort === true)
			keys.sort(L.naturalCompare);
		if (create)
			keys.push(...this.values.filter(value => !keys.includes(value)));
		const list = E('ul', { 'tabindex': -1 }, keys.map(key => this._item(key, this.choices[key], this.values.includes(key))));
		if (create)
			list.appendChild(E('li', { 'data-value': '-', 'unselectable': '' }, [ this._createInput() ]));
		return this.bind(E('div', {
			id,
			'class': 'cbi-dropdown',
			'multiple': flag(multiple),
			'optional': flag(optional),
			'disabled': flag(disabled),
			'tabindex': disabled ? -1 : 0,
			'aria-disabled': disabled ? 'true' : null
		}, [ list, E('span', { 'class': 'more' }, [ '···' ]), E('span', { 'class': 'open' }, [ '▾' ]) ]));
	},

	_item(key, label, selected) {
		const shown = dom.elem(label) ? label.cloneNode(true) : label ?? key;
		return E('li', { 'data-value': key, 'selected': flag(selected), 'tabindex': -1 }, this.options.multiple
			? [ E('input', { 'type': 'checkbox', 'tabindex': -1, 'aria-label': key }), E('label', {}, [ shown ].flat()) ]
			: [ shown ].flat());
	},

	_createInput() {
		const { custom_placeholder, placeholder, datatype, validate, maxlength } = this.options;
		const input = E('input', {
			'type': 'text',
			'class': 'create-item-input',
			'aria-label': _('Custom value'),
			'placeholder': custom_placeholder ?? placeholder,
			maxlength,
			'keydown': ev => {
				if (ev.key === 'Enter') {
					ev.preventDefault();
					if (input.value.trim() && !input.classList.contains('cbi-input-invalid')) {
						this.createItems(input.value);
						input.value = '';
					}
				}
				if (ev.key === 'Escape')
					this.close();
				ev.stopPropagation();
			}
		});
		if (datatype || validate)
			element.addValidator(input, datatype ?? 'string', true, validate, 'blur', 'keyup');
		return input;
	},

	bind(node) {
		this.node = node;
		this.list = node.querySelector('ul');
		if (!this.options.multiple) {
			if (this.options.optional && !this.list.querySelector('li[data-value=""]'))
				this.list.prepend(E('li', { 'placeholder': '', 'tabindex': -1 }, [ this.options.select_placeholder ].flat()));
			const first = this.list.querySelector('li[selected]') ?? this.list.querySelector('li');
			this._items().forEach(item => item.toggleAttribute('selected', item === first));
		}
		this._show();
		node.addEventListener('click', ev => this.handleClick(ev));
		node.addEventListener('keydown', ev => this.handleKeydown(ev));
		node.addEventListener('cbi-dropdown-close', () => this.close());
		this.setUpdateEvents(node, 'cbi-dropdown-open', 'cbi-dropdown-close');
		this.setChangeEvents(node, 'cbi-dropdown-change');
		dom.bindClassInstance(node, this);
		return node;
	},

	_items() {
		return [ ...this.list.children ];
	},

	_selected() {
		return this._items().filter(item => item.hasAttribute('selected'));
	},

	/** Marks what the closed list shows. */
	_show() {
		const selected = this._selected();
		const shown = selected.slice(0, this.options.multiple ? this.options.display_items : 1);
		this._items().forEach(item => {
			item.toggleAttribute('display', shown.includes(item));
			const box = item.querySelector(':scope > input[type="checkbox"]');
			if (box)
				box.checked = selected.includes(item);
		});
		this.node.toggleAttribute('more', selected.length > shown.length);
		this.node.toggleAttribute('empty', selected.length === 0);
		dom.content(this.node.querySelector('.more'), [ selected.length ? '···' : this.options.select_placeholder ].flat());
		this.node.value = L.toArray(this.getValue()).join(' ');
	},

	open() {
		closeAll(this.node);
		this.node.setAttribute('open', '');
		this.list.classList.add('dropdown');
		const room = window.innerHeight - this.node.getBoundingClientRect().bottom;
		this.list.classList.toggle('above', room < Math.min(this.list.scrollHeight, 200) && room < window.innerHeight / 2);
		(this._selected()[0] ?? this._items()[0])?.focus();
		this.node.dispatchEvent(new CustomEvent('cbi-dropdown-open'));
	},

	close() {
		if (!this.node.hasAttribute('open'))
			return;
		this.node.removeAttribute('open');
		this.list.classList.remove('dropdown', 'above');
		this.node.dispatchEvent(new CustomEvent('cbi-dropdown-close'));
	},

	toggleItem(item, state) {
		if (item.hasAttribute('unselectable'))
			return;
		if (this.options.multiple) {
			const wanted = state ?? !item.hasAttribute('selected');
			if (!wanted && this._selected().length === 1 && !this.options.optional)
				return;
			item.toggleAttribute('selected', wanted);
		}
		else {
			this._items().forEach(other => other.toggleAttribute('selected', other === item));
			this.close();
			this.node.focus();
		}
		this._changed();
	},

	_changed() {
		this._show();
		const values = this._selected().filter(item => !item.hasAttribute('placeholder'))
			.map(item => ({ text: item.textContent, value: item.getAttribute('data-value'), element: item }));
		this.node.dispatchEvent(new CustomEvent('cbi-dropdown-change', {
			bubbles: true,
			detail: { instance: this, element: this.node, ...this.options.multiple ? { values } : { value: values[0] ?? null } }
		}));
	},

	handleClick(ev) {
		if (ev.target.matches('input.create-item-input') || this.options.disabled)
			return;
		const item = ev.target.closest('li');
		if (!this.node.hasAttribute('open'))
			this.open();
		else if (item)
			this.toggleItem(item);
		else
			this.close();
		if (!ev.target.matches('input[type="checkbox"]'))
			ev.preventDefault();
	},

	handleKeydown(ev) {
		const items = this._items().filter(item => item.offsetParent !== null);
		const at = items.indexOf(document.activeElement?.closest?.('li'));
		const open = this.node.hasAttribute('open');
		const step = { ArrowDown: 1, ArrowUp: -1 }[ev.key];
		if (this.options.disabled)
			return;
		if (!open && (step || ev.key === 'Enter' || ev.key === ' '))
			this.open();
		else if (open && step) {
			const next = items[Math.min(Math.max(at + step, 0), items.length - 1)];
			(next?.querySelector('input.create-item-input') ?? next)?.focus();
		}
		else if (open && (ev.key === 'Enter' || ev.key === ' ') && at >= 0)
			this.toggleItem(items[at]);
		else if (open && ev.key === 'Escape') {
			this.close();
			this.node.focus();
			ev.stopPropagation();
		}
		else
			return;
		ev.preventDefault();
	},

	createItems(text) {
		const values = this.options.multiple ? L.toArray(text) : [ String(text ?? '').trim() ].filter(Boolean);
		for (const value of values) {
			let item = this._items().find(other => other.getAttribute('data-value') === value);
			if (!item) {
				item = this._item(value, this.choices[value], false);
				item.setAttribute('created', '');
				this.list.insertBefore(item, this.options.create ? this.list.lastElementChild : null);
			}
			this.toggleItem(item, true);
		}
	},

	addChoices(values, labels) {
		for (const value of L.toArray(values))
			if (!this._items().some(item => item.getAttribute('data-value') === value))
				this.list.insertBefore(this._item(value, labels?.[value], false), this.options.create ? this.list.lastElementChild : null);
	},

	clearChoices(reset) {
		const kept = reset ? [] : L.toArray(this.getValue());
		this._items().filter(item => item.hasAttribute('data-value') && !item.hasAttribute('unselectable') &&
			!kept.includes(item.getAttribute('data-value'))).forEach(item => item.remove());
		this._show();
	},

	getValue() {
		const values = this._selected().filter(item => !item.hasAttribute('placeholder')).map(item => item.getAttribute('data-value'));
		return this.options.multiple ? values : values[0];
	},

	setValue(value) {
		const values = Array.isArray(value) ? value : value != null && value !== '' ? [ value ] : [];
		const wanted = (this.options.multiple ? values : values.slice(0, 1)).map(String);
		if (this.options.create)
			wanted.filter(item => !this._items().some(li => li.getAttribute('data-value') === item))
				.forEach(item => this.addChoices([ item ]));
		this._items().forEach(item => item.toggleAttribute('selected', wanted.length
			? wanted.includes(item.getAttribute('data-value')) : !this.options.multiple && item.hasAttribute('placeholder')));
		this._changed();
	}
});

const Combobox = Dropdown.extend({
	__init__(value, choices, options) {
		Dropdown.prototype.__init__.call(this, value, choices, { ...options, multiple: false, create: true, optional: true });
	}
});

/** The chosen variant is the button's label; a click runs `options.click(event, variant)`. */
const ComboButton = Dropdown.extend({
	__init__(value, choices, options) {
		Dropdown.prototype.__init__.call(this, value, choices, { ...options, multiple: false, create: false, optional: false });
	},

	_show() {
		Dropdown.prototype._show.call(this);
		this.node.setAttribute('class', `cbi-dropdown ${this.options.classes?.[this.getValue()] ?? ''}`);
	},

	handleClick(ev) {
		if (this.options.disabled)
			return;
		if (this.node.hasAttribute('open') || ev.target.matches('span.open'))
			return Dropdown.prototype.handleClick.call(this, ev);
		ev.preventDefault();
		return this.options.click?.call(this.node, ev, this.getValue());
	},

	handleKeydown(ev) {
		if (!this.node.hasAttribute('open') && (ev.key === 'Enter' || ev.key === ' ') && !this.options.disabled) {
			ev.preventDefault();
			return this.options.click?.call(this.node, ev, this.getValue());
		}
		return Dropdown.prototype.handleKeydown.call(this, ev);
	}
});

return baseclass.extend({ Dropdown, Combobox, ComboButton });
