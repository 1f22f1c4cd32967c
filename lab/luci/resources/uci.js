'use strict';
'require baseclass';
'require rpc';

/* UCI packages: loaded once, edited here, sent as staged changes by `save()`. */

const callGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} }, reject: true });
const callSet = rpc.declare({ object: 'uci', method: 'set', params: [ 'config', 'section', 'values' ], reject: true });
const callDelete = rpc.declare({ object: 'uci', method: 'delete', params: [ 'config', 'section', 'options' ], reject: true });
const callOrder = rpc.declare({ object: 'uci', method: 'order', params: [ 'config', 'sections' ], reject: true });
const callAdd = rpc.declare({
	object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true
});
const callApply = rpc.declare({ object: 'uci', method: 'apply', params: [ 'timeout', 'rollback' ], reject: true });
const callConfirm = rpc.declare({ object: 'uci', method: 'confirm', reject: true });

const TRUE = [ '1', 'on', 'true', 'yes', 'enabled' ];
const CONFIRM_AFTER_MS = 1000;
const CONFIRM_AGAIN_MS = 250;

const sleep = ms => new Promise(resolve => window.setTimeout(resolve, ms));

return baseclass.extend({
	__init__() {
		/* Each: config → section → …; `deletes` holds true for a whole section, else the set of its options. */
		this.state = { values: {}, creates: {}, changes: {}, deletes: {}, reorder: {} };
		this.loading = {};
		this.created = 0;
	},

	changes: rpc.declare({ object: 'uci', method: 'changes', expect: { changes: {} } }),

	async load(packages) {
		const wanted = L.toArray(packages).filter(name => !this.state.values[name]);
		await Promise.all(wanted.map(async name => {
			this.loading[name] ??= callGet(name);
			try {
				this.state.values[name] = await this.loading[name];
			}
			finally {
				delete this.loading[name];
			}
		}));
		document.dispatchEvent(new CustomEvent('uci-loaded'));
		return wanted;
	},

	unload(packages) {
		for (const name of L.toArray(packages))
			for (const part of [ 'values', 'creates', 'changes', 'deletes' ])
				delete this.state[part][name];
	},

	createSID(config) {
		let sid;
		do
			sid = `new${Math.floor(Math.random() * 0xffffff).toString(16).padStart(6, '0')}`;
		while (this.state.creates[config]?.[sid] || this.state.values[config]?.[sid]);
		return sid;
	},

	resolveSID(config, sid) {
		const match = typeof sid === 'string' ? /^@([a-zA-Z0-9_-]+)\[(-?[0-9]+)\]$/.exec(sid) : null;
		return match ? this.sections(config, match[1]).at(+match[2])?.['.name'] ?? null : sid;
	},

	add(config, type, name) {
		const sid = name || this.createSID(config);
		(this.state.creates[config] ??= {})[sid] = {
			'.type': type, '.name': sid, '.create': name, '.anonymous': !name, '.index': 1000 + this.created++
		};
		return sid;
	},

	clone(config, type, source, after, name) {
		const sid = this.add(config, type, name);
		const own = this.state.creates[config][sid];
		for (const [ option, value ] of Object.entries(this.get(config, source) ?? {}))
			if (!option.startsWith('.'))
				own[option] = value;
		if (after)
			this.move(config, sid, source, true);
		return sid;
	},

	remove(config, sid) {
		const { values, creates, changes, deletes } = this.state;
		sid = this.resolveSID(config, sid);
		if (creates[config]?.[sid])
			delete creates[config][sid];
		else if (values[config]?.[sid]) {
			delete changes[config]?.[sid];
			(deletes[config] ??= {})[sid] = true;
		}
	},

	sections(config, type, callback) {
		const { values, creates, changes, deletes } = this.state;
		if (!values[config])
			return [];
		const found = Object.entries(values[config]).filter(([ sid ]) => deletes[config]?.[sid] !== true)
			.map(([ sid, section ]) => {
				const merged = { ...section, ...changes[config]?.[sid] };
				Object.keys(deletes[config]?.[sid] ?? {}).forEach(option => delete merged[option]);
				return merged;
			});
		found.push(...Object.values(creates[config] ?? {}).map(section => ({ ...section })));
		const sorted = found.filter(section => !type || section['.type'] === type).sort((a, b) => a['.index'] - b['.index']);
		sorted.forEach((section, i) => { section['.index'] = i; });
		if (typeof callback === 'function')
			sorted.forEach(section => callback.call(this, section, section['.name']));
		return sorted;
	},

	get(config, sid, option) {
		const { values, creates, changes, deletes } = this.state;
		sid = this.resolveSID(config, sid);
		if (sid == null)
			return null;
		const fresh = creates[config]?.[sid];
		if (fresh)
			return option == null ? fresh : fresh[option];
		const stored = values[config]?.[sid], gone = deletes[config]?.[sid], changed = changes[config]?.[sid];
		if (!stored || gone === true)
			return null;
		if (option != null)
			return gone?.[option] ? null : changed?.[option] ?? stored[option];
		const merged = Object.assign(stored, changed);
		Object.keys(gone ?? {}).forEach(name => delete merged[name]);
		return merged;
	},

	set(config, sid, option, value) {
		const { values, creates, changes, deletes } = this.state;
		sid = this.resolveSID(config, sid);
		if (sid == null || option == null || option.startsWith('.'))
			return;
		const fresh = creates[config]?.[sid], stored = values[config]?.[sid];
		const empty = value == null || value === '';
		if (fresh) {
			if (value != null)
				fresh[option] = value;
			else
				delete fresh[option];
		}
		else if (stored && deletes[config]?.[sid] !== true) {
			if (empty) {
				drop(changes, config, sid, option);
				if (Object.hasOwn(stored, option))
					((deletes[config] ??= {})[sid] ??= {})[option] = true;
			}
			else {
				drop(deletes, config, sid, option);
				((changes[config] ??= {})[sid] ??= {})[option] = value;
			}
		}

		function drop(table, ...[ package_, section, name ]) {
			const kept = table[package_]?.[section];
			if (!kept)
				return;
			delete kept[name];
			if (!Object.keys(kept).length)
				delete table[package_][section];
		}
	},

	unset(config, sid, option) {
		return this.set(config, sid, option, null);
	},

	get_first(config, type, option) {
		return this.get(config, this.sections(config, type)[0]?.['.name'] ?? null, option);
	},

	set_first(config, type, option, value) {
		return this.set(config, this.sections(config, type)[0]?.['.name'] ?? null, option, value);
	},

	unset_first(config, type, option) {
		return this.set_first(config, type, option, null);
	},

	get_bool(config, sid, option) {
		const value = this.get(config, sid, option);
		return typeof value === 'string' && TRUE.includes(value.toLowerCase());
	},

	move(config, sid, other, after) {
		const order = this.sections(config).map(section => section['.name']);
		const from = order.indexOf(this.resolveSID(config, sid));
		if (from < 0)
			return false;
		const [ moved ] = order.splice(from, 1);
		const at = other == null ? order.length : order.indexOf(this.resolveSID(config, other));
		if (at < 0)
			return false;
		order.splice(other == null ? at : at + !!after, 0, moved);
		order.forEach((name, i) => { this.get(config, name)['.index'] = i; });
		this.state.reorder[config] = true;
		return true;
	},

	/** Stages every edit and loads what was touched anew. */
	async save() {
		const { creates, changes, deletes, reorder } = this.state;
		const tasks = [];
		for (const [ config, sections ] of Object.entries(deletes))
			for (const [ sid, options ] of Object.entries(sections))
				tasks.push(callDelete(config, sid, options === true ? null : Object.keys(options)));
		for (const [ config, sections ] of Object.entries(creates))
			for (const section of Object.values(sections)) {
				const own = Object.entries(section).filter(([ name ]) => !name.startsWith('.'));
				tasks.push(callAdd(config, section['.type'], section['.create'], Object.fromEntries(own))
					.then(name => { section['.name'] = name; }));
			}
		for (const [ config, sections ] of Object.entries(changes))
			for (const [ sid, values ] of Object.entries(sections))
				tasks.push(callSet(config, sid, values));
		const touched = [ ...new Set([ deletes, creates, changes, reorder ].flatMap(Object.keys)) ];
		await Promise.all(tasks);
		await Promise.all(Object.keys(reorder).map(config => {
			const all = [ ...Object.values(this.state.values[config] ?? {}), ...Object.values(creates[config] ?? {}) ];
			const left = all.filter(section => deletes[config]?.[section['.name']] !== true);
			return callOrder(config, left.sort((a, b) => a['.index'] - b['.index']).map(section => section['.name']));
		}));
		this.state.reorder = {};
		this.unload(touched);
		return this.load(touched);
	},

	async apply(timeout) {
		const patience = typeof timeout === 'number' && timeout >= 1 ? timeout : 10;
		const deadline = Date.now() + patience * 1000;
		await callApply(patience, true);
		await sleep(CONFIRM_AFTER_MS);
		for (;;) {
			try {
				return await callConfirm();
			}
			catch (error) {
				if (Date.now() >= deadline)
					throw error;
				await sleep(CONFIRM_AGAIN_MS);
			}
		}
	},

	callLoad: callGet, callSet, callAdd, callDelete, callOrder, callApply, callConfirm
});
