'use strict';
'require baseclass';
'require dom';
'require ui';
'require form.base as base';

/* One option of a section: its value in UCI, its widget, when it is shown, what it accepts. */

const AbstractValue = base.AbstractElement.extend({
	__init__(map, section, option, title, description) {
		base.AbstractElement.prototype.__init__.call(this, title, description);
		Object.assign(this, {
			map, section, option, config: map.config, deps: [], rmempty: true, default: null, size: null, optional: false, retain: false
		});
	},

	_config() {
		return this.uciconfig ?? this.section.uciconfig ?? this.map.config;
	},

	_place(sid) {
		return [ this._config(), this.ucisection ?? sid, this.ucioption ?? this.option ];
	},

	depends(field, value) {
		this.deps.push(typeof field === 'string' ? { [field]: value } : field);
	},

	transformChoices() {
		return this.keylist?.length ? Object.fromEntries(this.keylist.map((key, i) => [ key, this.vallist[i] ])) : null;
	},

	checkDepends(sid) {
		const active = this.map.isDependencySatisfied(this.deps, this._config(), sid);
		if (active)
			this.updateDefaultValue(sid);
		return active;
	},

	/** `defaults` maps a default to what it depends on. */
	updateDefaultValue(sid) {
		if (!L.isObject(this.defaults))
			return;
		const entries = Object.entries(this.defaults);
		const [ value ] = entries.find(([ , deps ]) => deps?.length && this.map.isDependencySatisfied(deps, this._config(), sid)) ??
			entries.find(([ , deps ]) => !deps?.length) ?? [];
		const node = this._node(sid);
		if (node && !node.hasAttribute('data-changed') && value != null && L.toArray(this.cfgvalue(sid))[0] == null)
			dom.callClassMethod(node, 'setValue', value);
		this.default = value;
	},

	cbid(sid) {
		if (sid == null)
			L.error('TypeError', 'Section ID required');
		return `cbid.${this._config()}.${sid}.${this.option}`;
	},

	_node(sid) {
		return this.map.root ? this.map.findElement(`#${CSS.escape(this.cbid(sid))}`) : null;
	},

	_field(sid) {
		const id = this.cbid(sid);
		return [ ...this.map.root?.querySelectorAll('[data-field]') ?? [] ].find(node => node.getAttribute('data-field') === id) ?? null;
	},

	load(sid) {
		return this.map.data.get(...this._place(sid));
	},

	getUIElement(sid) {
		const node = this._node(sid);
		const widget = node ? dom.findClassInstance(node) : null;
		return widget instanceof ui.AbstractElement ? widget : null;
	},

	cfgvalue(sid, ...value) {
		if (sid == null)
			L.error('TypeError', 'Section ID required');
		if (value.length)
			(this.data ??= {})[sid] = value[0];
		return this.data?.[sid];
	},

	formvalue(sid) {
		return this.getUIElement(sid)?.getValue() ?? null;
	},

	/** What a grid shows; escaped, as it is put there as markup. */
	textvalue(sid) {
		const value = this.cfgvalue(sid) ?? this.default;
		return value == null ? null : '%h'.format(Array.isArray(value) ? value.join(' ') : value);
	},

	validate() {
		return true;
	},

	getValidator(sid) {
		const all = Array.isArray(this.validate) ? this.validate : [ this.validate ];
		return value => all.map(fn => fn.call(this, sid, value)).find(answer => answer !== true) ?? true;
	},

	isValid(sid) {
		return this.getUIElement(sid)?.isValid() ?? true;
	},

	getValidationError(sid) {
		return this.getUIElement(sid)?.getValidationError() ?? '';
	},

	isActive(sid) {
		const field = this._field(sid);
		return field != null && !field.classList.contains('hidden');
	},

	setActive(sid, active) {
		const field = this._field(sid);
		if (!field || field.classList.contains('hidden') !== active)
			return false;
		field.classList.toggle('hidden', !active);
		if (dom.matches(field.parentNode, '.td.cbi-value-field'))
			field.parentNode.classList.toggle('inactive', !active);
		return true;
	},

	triggerValidation(sid) {
		return this.getUIElement(sid)?.triggerValidation() ?? true;
	},

	_name() {
		return this.stripTags(this.title).trim() || this.option;
	},

	_refuseInvalid(sid) {
		if (!this.isValid(sid))
			throw new TypeError(`${_('Option "%s" contains an invalid input value.').format(this._name())} ${this.getValidationError(sid)}`);
	},

	async parse(sid) {
		if (!this.isActive(sid))
			return this.retain ? undefined : this.remove(sid);
		this._refuseInvalid(sid);
		const value = this.formvalue(sid);
		if (value == null || value == '') {
			if (!this.rmempty && !this.optional)
				throw new TypeError(_('Option "%s" must not be empty.').format(this._name()));
			return this.remove(sid);
		}
		return this.forcewrite || !base.isEqual(this.cfgvalue(sid), value) ? this.write(sid, value) : undefined;
	},

	write(sid, value) {
		return this.map.data.set(...this._place(sid), value);
	},

	/** Unless another option that is shown stands for the same value. */
	remove(sid) {
		const own = this._place(sid).join('.');
		const shared = this.section.children.some(other => other !== this && other.ucioption != null &&
			other._place?.(sid).join('.') === own && other.isActive(sid));
		if (!shared)
			this.map.data.unset(...this._place(sid));
	}
});

const Value = AbstractValue.extend({
	__name__: 'CBI.Value',

	value(key, label) {
		(this.keylist ??= []).push(String(key));
		(this.vallist ??= []).push(dom.elem(label) ? label : String(label ?? key));
	},

	async render(index, sid, inTable) {
		const widget = await this.renderWidget(sid, index, await this.cfgvalue(sid));
		return this.renderFrame(sid, inTable, index, widget);
	},

	handleValueChange(sid, state, ev) {
		if (typeof this.onchange !== 'function')
			return;
		const value = this.formvalue(sid);
		if (!base.isEqual(value, state.previous)) {
			state.previous = value;
			this.onchange(ev, sid, value);
		}
	},

	renderFrame(sid, inTable, index, widget) {
		const id = `cbi-${this._config()}-${sid}-${this.option}`;
		const about = { 'data-name': this.option, 'data-widget': this.typename ?? this.__name__ };
		const field = { id, 'data-index': index, 'data-field': this.cbid(sid), 'class': '' };
		if (this.deps.length)
			field.class = 'hidden';
		const help = this.description ? E('div', { 'class': 'cbi-value-description' }, this.description.trim()) : '';
		const frame = inTable ? E('td', {
			...about,
			'class': 'td cbi-value-field',
			'data-title': this.stripTags(this.title).trim() || null,
			'data-description': this.stripTags(this.description).trim()
		}, E('div', field, [ widget ])) : E('div', { ...about, ...field, 'class': `cbi-value ${field.class}` }, [
			...this.title ? [ this._label(sid, widget), E('div', { 'class': 'cbi-value-field' }, [ widget, help ]) ] : [ widget, help ]
		]);
		if (inTable)
			widget.querySelector?.('input:not([type=hidden]), select, textarea')?.setAttribute('aria-label', this._name());
		const state = {};
		frame.addEventListener('widget-change', ev => this.map.checkDepends(ev));
		frame.addEventListener('widget-change', ev => this.handleValueChange(sid, state, ev));
		dom.bindClassInstance(frame, this);
		return frame;
	},

	/** The caption, tied to its widget for those who cannot see that they stand side by side. */
	_label(sid, widget) {
		const target = `widget.${this.cbid(sid)}`;
		const field = widget.querySelector?.(`#${CSS.escape(target)}, [data-widget-id="${CSS.escape(target)}"]`);
		const label = E('label', { 'class': 'cbi-value-title', 'id': `label.${this.cbid(sid)}`, 'for': field?.id ?? target }, this.titleref
			? [ E('a', { 'class': 'cbi-title-ref', 'href': this.titleref }, this.title) ] : this.title);
		if (field && field.tagName !== 'SELECT')
			field.setAttribute('aria-labelledby', label.id);
		return label;
	},

	/** What every widget is told. */
	_options(sid, more) {
		return {
			id: this.cbid(sid),
			sort: this.keylist,
			optional: this.optional || this.rmempty,
			datatype: this.datatype,
			placeholder: this.placeholder,
			validate: this.getValidator(sid),
			disabled: this.readonly ?? this.map.readonly,
			...more
		};
	},

	renderWidget(sid, index, stored) {
		const given = stored ?? this.default;
		const value = Array.isArray(given) ? given.join(' ') : given;
		const choices = this.transformChoices();
		const unset = this.optional || this.rmempty ? E('em', {}, [ _('unspecified') ]) : _('-- Please choose --');
		return (choices ? new ui.Combobox(value, choices, this._options(sid, { select_placeholder: this.placeholder ?? unset }))
			: new ui.Textfield(value, this._options(sid, { password: this.password }))).render();
	}
});

return baseclass.extend({ AbstractValue, Value });
