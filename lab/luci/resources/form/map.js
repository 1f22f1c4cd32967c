'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';
'require form.base as base';

/* A form over one UCI package (or, JSONMap, over a plain object). */

const callAccess = rpc.declare({
	object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: false }
});

const MAX_ROUNDS = 10;

const AbstractMap = base.AbstractElement.extend({
	__init__(config, title, description) {
		base.AbstractElement.prototype.__init__.call(this, title, description);
		this.config = config;
		this.parsechain = [ config ];
		this.data = uci;
	},

	findElements(...args) {
		return this.root.querySelectorAll(args.length === 1 ? args[0] : `[${args[0]}="${CSS.escape(args[1])}"]`);
	},

	findElement(...args) {
		return this.findElements(...args)[0] ?? null;
	},

	chain(config) {
		if (!this.parsechain.includes(config))
			this.parsechain.push(config);
	},

	section(type, ...args) {
		const section = new type(this, ...args);
		this.append(section);
		return section;
	},

	async load() {
		const [ writable ] = await Promise.all([
			this.readonly == null && this.data === uci ? callAccess('uci', this.config, 'write') : true,
			...this.parsechain.map((config, i) => i ? L.resolveDefault(this.data.load(config)) : this.data.load(config))
		]);
		if (!writable)
			this.readonly = true;
		return this.loadChildren();
	},

	parse() {
		return Promise.all(this.children.map(child => child.parse()));
	},

	async save(callback, silent) {
		this.checkDepends();
		try {
			await this.parse();
			await callback?.();
			await this.data.save();
			await this.load();
		}
		catch (error) {
			if (!silent)
				ui.showModal(_('Save error'), [
					E('p', {}, [ _('An error occurred while saving the form:') ]),
					E('p', {}, [ E('em', { 'style': 'white-space:pre-wrap' }, [ error.message ]) ]),
					E('div', { 'class': 'right' }, [
						E('button', { 'class': 'cbi-button', 'click': ui.hideModal }, [ _('Dismiss') ])
					])
				]);
			throw error;
		}
		return this.renderContents();
	},

	reset() {
		return this.renderContents();
	},

	render() {
		return this.load().then(() => this.renderContents());
	},

	async renderContents() {
		const node = this.root ??= E('div', { 'id': `cbi-${this.config}`, 'class': 'cbi-map' });
		dom.bindClassInstance(node, this);
		const sections = await this.renderChildren(null);
		const again = node.firstChild != null;
		node.replaceChildren();
		if (this.title)
			node.appendChild(E('h2', { 'name': 'content' }, this.title));
		if (this.description)
			node.appendChild(E('div', { 'class': 'cbi-map-descr' }, this.description));
		dom.append(node, this.tabbed ? E('div', { 'class': 'cbi-map-tabbed' }, sections) : sections);
		if (again) {
			node.classList.remove('flash');
			window.setTimeout(() => node.classList.add('flash'), 1);
		}
		this.checkDepends();
		node.querySelectorAll('.cbi-map-tabbed, .cbi-section-node-tabbed').forEach(group => ui.tabs.initTabGroup(group.childNodes));
		return node;
	},

	/** The option and the section's id; `name` may be config.section.option. */
	lookupOption(name, sid, config) {
		const id = name.includes('.') ? `cbid.${name}` : `cbid.${config ?? this.config}.${sid}.${name}`;
		const node = [ ...this.root.querySelectorAll('[data-field]') ].find(item => item.getAttribute('data-field') === id);
		const option = node ? dom.findClassInstance(node) : null;
		return option?.cbid ? [ option, id.split('.')[2] ] : null;
	},

	/** Shows and hides what depends on other options, again while that changes something. */
	checkDepends(ev, round = 0) {
		const changed = this.children.map(section => section.checkDepends(ev, round)).includes(true);
		if (changed && round < MAX_ROUNDS)
			this.checkDepends(ev, round + 1);
		else
			ui.tabs.updateTabs(ev, this.root);
	},

	/** True when one of the alternatives holds: each maps options to the values they need. */
	isDependencySatisfied(depends, config, sid) {
		if (!Array.isArray(depends) || !depends.length)
			return true;
		let fallback = false;
		for (const wanted of depends) {
			let holds = true;
			for (const [ name, value ] of Object.entries(wanted)) {
				if (name === '!reverse' || name === '!contains')
					continue;
				if (name === '!default') {
					fallback = true;
					holds = false;
					continue;
				}
				const [ option, id ] = this.lookupOption(name, sid, config) ?? [];
				const now = option?.isActive(id) ? option.formvalue(id) : null;
				holds &&= wanted['!contains'] ? base.isContained(now, value) : base.isEqual(now, value);
			}
			if (holds !== !!wanted['!reverse'])
				return true;
		}
		return fallback;
	}
});

/** Sections out of `{ type: { option: … } }` or `{ type: [ { … }, … ] }`; edits change the given objects. */
const ObjectData = baseclass.extend({
	__init__(data) {
		this.data = {};
		let count = 0;
		for (const [ type, given ] of Object.entries(data ?? {}))
			for (const item of Array.isArray(given) ? given : [ given ]) {
				const listed = Array.isArray(given), anonymous = listed && item['.name'] == null;
				const name = anonymous ? `${type}${count}` : listed ? item['.name'] : type;
				this.data[name] = Object.assign(item, { '.name': name, '.type': type, '.anonymous': anonymous });
				this.data[name]['.index'] = listed ? count : 9999;  // lists come first
				count++;
			}
		Object.values(this.data).sort((a, b) => a['.index'] - b['.index'] || L.naturalCompare(a['.name'], b['.name']))
			.forEach((section, i) => { section['.index'] = i; });
	},

	load() {
		return Promise.resolve(this.data);
	},

	save() {
		return Promise.resolve();
	},

	get(config, sid, option) {
		const value = option == null ? this.data[sid] : this.data[sid]?.[option];
		return value == null ? null : L.isObject(value) ? value : String(value);
	},

	set(config, sid, option, value) {
		if (!this.data[sid] || option.startsWith('.'))
			return;
		if (value == null)
			delete this.data[sid][option];
		else
			this.data[sid][option] = L.isObject(value) ? value : String(value);
	},

	unset(config, sid, option) {
		this.set(config, sid, option, null);
	},

	sections(config, type, callback) {
		const found = Object.values(this.data).filter(section => type == null || section['.type'] === type)
			.sort((a, b) => a['.index'] - b['.index']);
		if (callback)
			found.forEach(section => callback.call(this, section, section['.name']));
		return found;
	},

	add(config, type, name) {
		const sid = name ?? `${type}${this.sections(config, type).length}`;
		this.data[sid] ??= { '.name': sid, '.type': type, '.anonymous': name == null, '.index': Object.keys(this.data).length };
		return sid;
	},

	remove(config, sid) {
		delete this.data[sid];
	},

	resolveSID(config, sid) {
		return sid;
	},

	move(...args) {
		return uci.move.apply(this, args);
	}
});

const JSONMap = AbstractMap.extend({
	__init__(data, title, description) {
		AbstractMap.prototype.__init__.call(this, 'json', title, description);
		this.data = new ObjectData(data);
	}
});

return baseclass.extend({ Map: AbstractMap, JSONMap });
