'use strict';
'require baseclass';
'require dom';
'require ui';
'require form.base as base';

/* Sections of a form: one by its name, or all of a type. */

const AbstractSection = base.AbstractElement.extend({
	__init__(map, type, title, description) {
		base.AbstractElement.prototype.__init__.call(this, title, description);
		Object.assign(this, { map, sectiontype: type, config: map.config, optional: true, addremove: false, dynamic: false });
	},

	_config() {
		return this.uciconfig ?? this.map.config;
	},

	cfgsections() {
		L.error('InternalError', 'Not implemented');
	},

	filter() {
		return true;
	},

	async load() {
		await Promise.all(this.cfgsections().map(async sid => {
			const values = await Promise.all(this.children.map(child => child.disable ? undefined : child.load(sid)));
			this.children.forEach((child, i) => child.cfgvalue(sid, values[i]));
		}));
	},

	parse() {
		return Promise.all(this.cfgsections().flatMap(sid => this.children.map(child => child.parse(sid))));
	},

	tab(name, title, description) {
		if (this.tabs?.[name])
			throw new Error('Tab already declared');
		this.tabs ??= [];
		this.tabs.push(this.tabs[name] = { name, title, description, children: [] });
		(this.tab_names ??= []).push(name);
	},

	option(type, ...args) {
		const option = new type(this.map, this, ...args);
		this.append(option);
		return option;
	},

	taboption(tab, ...args) {
		if (!this.tabs?.[tab])
			L.error('ReferenceError', 'Associated tab not declared');
		const option = this.option(...args);
		option.tab = tab;
		this.tabs[tab].children.push(option);
		return option;
	},

	/** Of one option, or of all by name. */
	_each(name, fn) {
		return name === undefined ? Object.fromEntries(this.children.map(child => [ child.option, fn(child) ]))
			: this.children.filter(child => child.option === name).map(fn)[0] ?? null;
	},

	cfgvalue(sid, name) {
		return this._each(name, child => child.cfgvalue(sid));
	},

	formvalue(sid, name) {
		return this._each(name, child => this.map.root ? child.formvalue(sid) : child.cfgvalue(sid));
	},

	getUIElement(sid, name) {
		return this._each(name, child => child.getUIElement(sid));
	},

	getOption(name) {
		return this._each(name, child => child);
	},

	async renderUCISection(sid) {
		if (!this.tabs)
			return this.renderOptions(null, sid);
		const panes = await Promise.all(this.tab_names.map(name => this.renderOptions(name, sid)));
		return E([], panes.map((pane, i) => {
			const { name, title, description } = this.tabs[this.tab_names[i]];
			return E('div', {
				'id': `container.${this._config()}.${sid}.${name}`,
				'data-tab': name,
				'data-tab-title': title,
				'data-tab-active': name === this.selected_tab
			}, [ description ? E('div', { 'class': 'cbi-tab-descr' }, description) : '', pane ]);
		}));
	},

	async renderOptions(tab, sid) {
		return E([], await this.renderChildren(tab, sid, !!this.tabular));
	},

	checkDepends(ev, round) {
		let changed = false;
		for (const sid of this.cfgsections())
			for (const option of this.children) {
				const wanted = option.checkDepends(sid);
				if (option.isActive(sid) !== wanted)
					changed = option.setActive(sid, wanted) || changed;
				if (!round && wanted)
					option.triggerValidation(sid);
			}
		return changed;
	},

	/** Title and description, in a frame that is a tab where the form has tabs. */
	_frame(id, look = '') {
		const tab = this.map.tabbed && !this.parentoption;
		const node = E('div', {
			id,
			'class': `cbi-section ${look}`.trim(),
			'data-tab': tab ? this.sectiontype : null,
			'data-tab-title': tab ? this.title || this.sectiontype : null
		}, [
			this.title && !this.hidetitle ? E('h3', {}, this.title) : '',
			this.description ? E('div', { 'class': 'cbi-section-descr' }, this.description) : ''
		]);
		dom.bindClassInstance(node, this);
		return node;
	},

	_node(sid, contents) {
		return E('div', {
			'id': `cbi-${this._config()}-${sid}`,
			'class': this.tabs ? 'cbi-section-node cbi-section-node-tabbed' : 'cbi-section-node',
			'data-section-id': sid
		}, contents);
	},

	_removeButton(sid, look) {
		const title = this.titleFn('delbtntitle', sid) ?? _('Delete');
		return E('button', {
			'class': look,
			title,
			'data-section-id': sid,
			'disabled': this.map.readonly || null,
			'click': ui.createHandlerFn(this, 'handleRemove', sid)
		}, [ title ]);
	}
});

const NamedSection = AbstractSection.extend({
	__name__: 'CBI.NamedSection',

	__init__(map, sid, ...args) {
		AbstractSection.prototype.__init__.call(this, map, ...args);
		this.section = sid;
	},

	cfgsections() {
		return [ this.section ];
	},

	handleAdd() {
		this.map.data.add(this._config(), this.sectiontype, this.section);
		return this.map.save(null, true);
	},

	handleRemove() {
		this.map.data.remove(this._config(), this.section);
		return this.map.save(null, true);
	},

	async render() {
		const stored = this.map.data.get(this._config(), this.section);
		const contents = await this.renderUCISection(this.section);
		const node = this._frame(stored ? null : `cbi-${this._config()}-${this.section}`);
		if (stored) {
			if (this.addremove)
				node.appendChild(E('div', { 'class': 'cbi-section-remove right' }, [ this._removeButton(this.section, 'cbi-button') ]));
			node.appendChild(this._node(this.section, [ contents ]));
		}
		else if (this.addremove)
			node.appendChild(E('button', {
				'class': 'cbi-button cbi-button-add',
				'disabled': this.map.readonly || null,
				'click': ui.createHandlerFn(this, 'handleAdd')
			}, [ this.titleFn('addbtntitle') ?? _('Add') ]));
		return node;
	}
});

const TypedSection = AbstractSection.extend({
	__name__: 'CBI.TypedSection',

	cfgsections() {
		return this.map.data.sections(this._config(), this.sectiontype).map(section => section['.name']).filter(sid => this.filter(sid));
	},

	handleAdd(ev, name) {
		this.map.data.add(this._config(), this.sectiontype, name);
		return this.map.save(null, true);
	},

	handleRemove(sid) {
		this.map.data.remove(this._config(), sid);
		return this.map.save(null, true);
	},

	renderSectionAdd(look = '') {
		if (!this.addremove)
			return E([]);
		const title = this.titleFn('addbtntitle') ?? _('Add');
		const name = this.anonymous ? null : E('input', {
			'type': 'text',
			'class': 'cbi-section-create-name',
			'aria-label': _('Name'),
			'disabled': this.map.readonly || null
		});
		const button = E('button', {
			'class': 'cbi-button cbi-button-add',
			title,
			'disabled': this.map.readonly || name ? '' : null,
			'click': ui.createHandlerFn(this, ev => this.handleAdd(ev, name?.value))
		}, [ title ]);
		const node = E('div', { 'class': `cbi-section-create ${look}` }, [ name ? E('div', {}, [ name ]) : '', button ]);
		if (name && !this.map.readonly) {
			ui.addValidator(name, 'uciname', true, () => true, 'blur', 'keyup', 'input');
			name.addEventListener('input', () => {
				button.disabled = !name.value || name.classList.contains('cbi-input-invalid');
			});
		}
		return node;
	},

	renderSectionPlaceholder() {
		return E('em', {}, [ _('This section contains no values yet') ]);
	},

	async render() {
		const sids = this.cfgsections();
		const contents = await Promise.all(sids.map(sid => this.renderUCISection(sid)));
		return this.renderContents(sids, contents);
	},

	renderContents(sids, contents) {
		const node = this._frame(`cbi-${this._config()}-${this.sectiontype}`);
		sids.forEach((sid, i) => dom.append(node, [
			this.addremove ? E('div', { 'class': 'cbi-section-remove right' }, [ this._removeButton(sid, 'cbi-button') ]) : '',
			this.anonymous ? '' : E('h3', {}, [ sid.toUpperCase() ]),
			this._node(sid, [ contents[i] ])
		]));
		dom.append(node, [ sids.length ? '' : this.renderSectionPlaceholder(), this.renderSectionAdd() ]);
		return node;
	}
});

return baseclass.extend({ AbstractSection, NamedSection, TypedSection });
