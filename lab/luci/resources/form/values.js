'use strict';
'require baseclass';
'require dom';
'require ui';
'require form.option as option';

/* The kinds of options. */

const { AbstractValue, Value } = option;

const DynamicList = Value.extend({
	__name__: 'CBI.DynamicList',

	renderWidget(sid, index, stored) {
		return new ui.DynamicList(L.toArray(stored ?? this.default), this.transformChoices(),
			this._options(sid, { allowduplicates: this.allowduplicates })).render();
	}
});

const ListValue = Value.extend({
	__name__: 'CBI.ListValue',

	__init__(...args) {
		Value.prototype.__init__.apply(this, args);
		Object.assign(this, { widget: 'select', orientation: 'horizontal' });
	},

	renderWidget(sid, index, stored) {
		return new ui.Select(stored ?? this.default, this.transformChoices(), this._options(sid, {
			size: this.size, widget: this.widget, orientation: this.orientation, optional: this.optional, datatype: null
		})).render();
	}
});

const RichListValue = ListValue.extend({
	__name__: 'CBI.RichListValue',

	value(key, title, description) {
		ListValue.prototype.value.call(this, key, description ? E('span', {}, [
			E('strong', {}, [ title ]), ' ', E('span', {}, [ description ])
		]) : title);
	},

	renderWidget(sid, index, stored) {
		return new ui.Dropdown(stored ?? this.default, this.transformChoices(), this._options(sid, {
			multiple: this.multiple, optional: this.optional,
			select_placeholder: this.select_placeholder ?? this.placeholder ?? _('-- Please choose --')
		})).render();
	}
});

const Flag = Value.extend({
	__name__: 'CBI.FlagValue',

	__init__(...args) {
		Value.prototype.__init__.apply(this, args);
		Object.assign(this, { enabled: '1', disabled: '0', default: '0' });
	},

	renderWidget(sid, index, stored) {
		const tooltip = typeof this.tooltip === 'function' ? this.tooltip(sid) : this.tooltip?.format(sid);
		return new ui.Checkbox(stored ?? this.default, this._options(sid, {
			value_enabled: this.enabled, value_disabled: this.disabled, tooltip, tooltipicon: this.tooltipicon, datatype: null
		})).render();
	},

	formvalue(sid) {
		return this.getUIElement(sid)?.isChecked() ? this.enabled : this.disabled;
	},

	textvalue(sid) {
		return (this.cfgvalue(sid) ?? this.default) == this.enabled ? _('Yes') : _('No');
	},

	/** The default is not written, unless `rmempty` is false. */
	async parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? undefined : this.remove(sid);
		this._refuseInvalid(sid);
		const value = this.formvalue(sid);
		return value == this.default && (this.optional || this.rmempty) ? this.remove(sid) : this.write(sid, value);
	}
});

const MultiValue = DynamicList.extend({
	__name__: 'CBI.MultiValue',

	__init__(...args) {
		DynamicList.prototype.__init__.apply(this, args);
		this.placeholder = _('-- Please choose --');
	},

	renderWidget(sid, index, stored) {
		return new ui.Dropdown(L.toArray(stored ?? this.default), this.transformChoices(), this._options(sid, {
			multiple: true, create: this.create, select_placeholder: this.placeholder,
			display_items: this.display_size ?? this.size ?? 3
		})).render();
	}
});

const TextValue = Value.extend({
	__name__: 'CBI.TextValue',
	value: null,

	renderWidget(sid, index, stored) {
		return new ui.Textarea(stored ?? this.default, this._options(sid, {
			monospace: this.monospace, cols: this.cols, rows: this.rows, wrap: this.wrap,
			readonly: this.readonly ?? this.map.readonly, disabled: this.disabled
		})).render();
	}
});

const DummyValue = Value.extend({
	__name__: 'CBI.DummyValue',

	renderWidget(sid, index, stored) {
		const value = stored ?? this.default;
		const output = E('output', { 'style': this.hidden ? 'display:none' : null, 'for': this.cbid(sid) });
		const place = this.href && !(this.readonly ?? this.map.readonly) ? output.appendChild(E('a', { 'href': this.href })) : output;
		dom.append(place, this.rawhtml ? value : [ value ]);
		return E('div', {}, [ output, new ui.Hiddenfield(value, { id: this.cbid(sid) }).render() ]);
	},

	remove() {},
	write() {}
});

const Button = Value.extend({
	__name__: 'CBI.ButtonValue',

	renderWidget(sid, index, stored) {
		const value = stored ?? this.default;
		const hidden = new ui.Hiddenfield(value, { id: this.cbid(sid) });
		return E('div', {}, [ value === false ? E('output', {}, [ ' - ' ]) : E('output', {}, [ E('button', {
			'class': `cbi-button cbi-button-${this.inputstyle ?? 'button'}`,
			'disabled': (this.readonly ?? this.map.readonly) || null,
			'click': ui.createHandlerFn(this, ev => this.onclick ? this.onclick(ev, sid) : this.map.save())
		}, [ this.titleFn('inputtitle', sid) ?? this.titleFn('title', sid) ]) ]), hidden.render() ]);
	}
});

const HiddenValue = Value.extend({
	__name__: 'CBI.HiddenValue',

	renderWidget(sid, index, stored) {
		return new ui.Hiddenfield(stored ?? this.default, { id: this.cbid(sid) }).render();
	}
});

/** A section within a section. */
const SectionValue = Value.extend({
	__name__: 'CBI.ContainerValue',

	__init__(map, section, name, type, ...args) {
		Value.prototype.__init__.call(this, map, section, name);
		this.subsection = new type(map, ...args);
		this.subsection.parentoption = this;
	},

	load() {
		return this.subsection.load();
	},

	parse(sid) {
		return this.subsection.parse(sid);
	},

	renderWidget() {
		return this.subsection.render();
	},

	checkDepends(sid) {
		this.subsection.checkDepends();
		return Value.prototype.checkDepends.call(this, sid);
	},

	value() {},
	write() {},
	remove() {},
	cfgvalue: () => null,
	formvalue: () => null
});

return baseclass.extend({
	AbstractValue, Value, DynamicList, ListValue, RichListValue, Flag, MultiValue, TextValue, DummyValue, Button, HiddenValue, SectionValue
});
