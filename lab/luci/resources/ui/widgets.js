'use strict';
'require baseclass';
'require dom';
'require ui.element as element';

/* Plain widgets: text, text area, checkbox, choice, hidden value. */

const flag = value => value ? '' : null;

const Textfield = element.Element.extend({
	__init__(value, options) {
		this.value = value;
		this.options = { optional: true, password: false, ...options };
	},

	render() {
		const { id, name, password, readonly, disabled, maxlength, placeholder } = this.options;
		const input = E('input', {
			'id': id ? `widget.${id}` : null,
			name, maxlength, placeholder,
			'type': password ? 'password' : 'text',
			'class': password ? 'cbi-input-password' : 'cbi-input-text',
			'autocomplete': password ? 'new-password' : null,
			'readonly': flag(readonly),
			'disabled': flag(disabled),
			'value': this.value
		});
		const reveal = password ? E('button', {
			'class': 'cbi-button cbi-button-neutral',
			'type': 'button',
			'title': _('Reveal/hide password'),
			'aria-label': _('Reveal/hide password'),
			'click': ev => {
				input.type = input.type === 'password' ? 'text' : 'password';
				ev.preventDefault();
			}
		}, [ '∗' ]) : null;
		return this.bind(E('div', { id }, [ reveal ? E('div', { 'class': 'control-group' }, [ input, reveal ]) : input ]));
	},

	bind(frame) {
		this.node = frame;
		const input = frame.querySelector('input');
		this.setUpdateEvents(input, 'keyup', 'blur');
		this.setChangeEvents(input, 'change');
		dom.bindClassInstance(frame, this);
		return frame;
	},

	getValue() {
		return this.node.querySelector('input').value;
	},

	setValue(value) {
		this.node.querySelector('input').value = value;
	}
});

const Textarea = element.Element.extend({
	__init__(value, options) {
		this.value = value;
		this.options = { optional: true, wrap: false, cols: null, rows: null, ...options };
	},

	render() {
		const { id, name, readonly, disabled, placeholder, cols, rows, wrap, monospace } = this.options;
		const area = E('textarea', {
			'id': id ? `widget.${id}` : null,
			name, placeholder, cols, rows,
			'class': 'cbi-input-textarea',
			'readonly': flag(readonly),
			'disabled': flag(disabled),
			'style': `${cols ? '' : 'width:100%;'}${monospace ? 'font-family:monospace' : ''}`,
			'wrap': wrap ? 'soft' : 'off'
		}, [ this.value ?? '' ]);
		return this.bind(E('div', { id, 'style': cols ? null : 'width:100%' }, [ area ]));
	},

	bind(frame) {
		this.node = frame;
		this.setUpdateEvents(frame.firstElementChild, 'keyup', 'blur');
		this.setChangeEvents(frame.firstElementChild, 'change');
		dom.bindClassInstance(frame, this);
		return frame;
	},

	getValue() {
		return this.node.firstElementChild.value;
	},

	setValue(value) {
		this.node.firstElementChild.value = value;
	}
});

let boxes = 0;

const Checkbox = element.Element.extend({
	__init__(value, options) {
		this.value = value;
		this.options = { value_enabled: '1', value_disabled: '0', ...options };
	},

	render() {
		const { id, name, disabled, tooltip, tooltipicon, value_enabled: enabled } = this.options;
		const box = `cb${++boxes}`;
		return this.bind(E('div', { id, 'class': 'cbi-checkbox' }, [
			E('input', {
				'id': box,
				name,
				'type': 'checkbox',
				'value': enabled,
				'checked': flag(this.value == enabled),
				'disabled': flag(disabled),
				'data-widget-id': id ? `widget.${id}` : null
			}),
			E('label', { 'for': box }),
			tooltip == null ? '' : E('label', { 'class': 'cbi-tooltip-container' }, [
				tooltipicon ?? '⚠️', E('div', { 'class': 'cbi-tooltip' }, [ tooltip ])
			])
		]));
	},

	bind(frame) {
		this.node = frame;
		const box = frame.querySelector('input[type="checkbox"]');
		this.setUpdateEvents(box, 'click', 'blur');
		this.setChangeEvents(box, 'change');
		dom.bindClassInstance(frame, this);
		return frame;
	},

	isChecked() {
		return this.node.querySelector('input[type="checkbox"]').checked;
	},

	getValue() {
		return this.isChecked() ? this.options.value_enabled : this.options.value_disabled;
	},

	setValue(value) {
		this.node.querySelector('input[type="checkbox"]').checked = value == this.options.value_enabled;
	}
});

const Select = element.Element.extend({
	__init__(value, choices, options) {
		this.values = Array.isArray(value) ? value : value != null && value !== '' ? [ value ] : [];
		this.choices = L.isObject(choices) ? choices : {};
		this.options = { multiple: false, widget: 'select', orientation: 'horizontal', ...options };
		if (Object.hasOwn(this.choices, ''))
			this.options.optional = true;
	},

	_keys() {
		const { sort } = this.options;
		const keys = Array.isArray(sort) ? sort : Object.keys(this.choices);
		return sort === true ? keys.sort(L.naturalCompare) : keys;
	},

	_isList() {
		return ![ 'radio', 'checkbox' ].includes(this.options.widget);
	},

	render() {
		return this.bind(E('div', { 'id': this.options.id }, this._isList() ? [ this._list() ] : this._boxes()));
	},

	_list() {
		const { id, name, size, multiple, disabled, optional, placeholder } = this.options;
		const option = (key, label) => E('option', {
			'value': key,
			'selected': flag(this.values.includes(key) || key === '' && !this.values.length)
		}, [ label ]);
		const keys = this._keys().filter(key => key != null && key !== '');
		return E('select', {
			'id': id ? `widget.${id}` : null,
			name, size,
			'class': 'cbi-input-select',
			'multiple': flag(multiple),
			'disabled': flag(disabled)
		}, [
			...optional ? [ option('', this.choices[''] ?? placeholder ?? _('-- Please choose --')) ] : [],
			...keys.map(key => option(key, this.choices[key] ?? key))
		]);
	},

	_boxes() {
		const { id, name, multiple, disabled, orientation } = this.options;
		return this._keys().map((key, i) => E(orientation === 'horizontal' ? 'span' : 'div', {
			'class': multiple ? 'cbi-checkbox' : 'cbi-radio'
		}, [
			E('input', {
				'id': id ? `widget.${id}.${i}` : null,
				'name': id ?? name,
				'type': multiple ? 'checkbox' : 'radio',
				'value': key,
				'checked': flag(this.values.includes(key)),
				'disabled': flag(disabled)
			}),
			E('label', { 'for': id ? `widget.${id}.${i}` : null }, [ this.choices[key] ?? key ]), ' '
		]));
	},

	bind(frame) {
		this.node = frame;
		for (const field of frame.querySelectorAll(this._isList() ? 'select' : 'input')) {
			this.setUpdateEvents(field, 'change', 'click', 'blur');
			this.setChangeEvents(field, 'change');
		}
		dom.bindClassInstance(frame, this);
		return frame;
	},

	getValue() {
		return this._isList() ? this.node.firstElementChild.value : this.node.querySelector('input:checked')?.value ?? null;
	},

	setValue(value) {
		if (this._isList())
			this.node.firstElementChild.value = value ?? '';
		else
			this.node.querySelectorAll('input').forEach(box => { box.checked = box.value == value; });
	}
});

const Hiddenfield = element.Element.extend({
	__init__(value, options) {
		this.value = value;
		this.options = { ...options };
	},

	render() {
		return this.bind(E('input', { 'id': this.options.id, 'type': 'hidden', 'value': this.value }));
	},

	bind(input) {
		this.node = input;
		dom.bindClassInstance(input, this);
		return input;
	}
});

return baseclass.extend({ Textfield, Textarea, Checkbox, Select, Hiddenfield });
