/*
 * The ground that every module stands on: classes, the loader of modules with `'require …'` directives, and `L`.
 *
 * A plain script. The page holds its environment as JSON in #luci-env and the view to show in #view[data-view].
 */
'use strict';

(() => {
	/* --- classes ------------------------------------------------------------------------------------------------ */

	const camel = name => name.replace(/(?:^|[. -])(.)/g, (match, letter) => letter.toUpperCase());

	/** For each object and method: the prototypes whose method runs now, innermost first. */
	const running = new WeakMap();
	let numbered = 0;

	/** As in LuCI, the search for a base method begins above the object's own class, and nested calls go further up. */
	function callBase(object, key, args) {
		if (!running.has(object))
			running.set(object, {});
		const levels = running.get(object)[key] ??= [];
		let level = Object.getPrototypeOf(levels[0] ?? Object.getPrototypeOf(object));
		while (level != null && !Object.hasOwn(level, key))
			level = Object.getPrototypeOf(level);
		if (level == null)
			return null;
		if (args == null)
			return level[key];
		if (typeof level[key] !== 'function')
			throw new ReferenceError(`${key} is not a function in base class`);
		levels.unshift(level);
		try {
			return level[key].apply(object, args);
		}
		finally {
			levels.shift();
		}
	}

	function Class() {}

	Object.assign(Class, {
		/** A new class; its instances have these members and the ones of this class. */
		extend(members) {
			const base = this;
			const name = members.__name__ ?? `anonymous${numbered++}`;
			const Derived = function(...args) {
				if (!(this instanceof Derived))
					throw new TypeError('Constructor must not be called without "new"');
				if (typeof this.__init__ === 'function')
					this.__init__(...args);
			};
			Object.assign(Derived, base);
			Derived.prototype = Object.create(base.prototype, {
				__name__: { value: name },
				__base__: { value: base.prototype },
				constructor: { value: Derived }
			});
			for (const key of Object.keys(members))
				if (key !== '__name__' && key !== '__base__')
					Object.defineProperty(Derived.prototype, key, { value: members[key], writable: true });
			Derived.displayName = camel(`${name}Class`);
			return Derived;
		},

		singleton(members, ...args) {
			return Class.extend(members).instantiate(args);
		},

		instantiate(args) {
			return new this(...args);
		},

		isSubclass(value) {
			return typeof value === 'function' && value.prototype instanceof this;
		}
	});

	Object.assign(Class.prototype, {
		super(key, args, ...more) {
			if (args == null)
				return callBase(this, key, null);
			return callBase(this, key, Array.isArray(args) || L.isArguments(args) ? [ ...args ] : [ args, ...more ]);
		},

		varargs(args, offset, ...extra) {
			return [ ...extra, ...Array.prototype.slice.call(args, offset) ];
		},

		toString() {
			return `[${this.constructor.displayName}]`;
		}
	});

	/* --- modules ------------------------------------------------------------------------------------------------ */

	const modules = { baseclass: Class };

	/** Of these the class itself is the module, for others to extend; of all others there is one instance. */
	const CLASSES = [ 'view' ];

	/** Where a module is found on L, when not under its own name. */
	const PLACES = { request: 'Request', poll: 'Poll', session: null };

	const DIRECTIVE = /^(?:\s|\/\/[^\n]*\n|\/\*[\s\S]*?\*\/)*(['"])([^'"\n]*)\1\s*;?/;
	const REQUIRE = /^require[ \t]+(\S+)(?:[ \t]+as[ \t]+([a-zA-Z_]\S*))?$/;

	/** The `'require module as name'` lines at the top of a module: pairs of module and name. */
	function directives(source) {
		const found = [];
		for (let rest = source, match; (match = DIRECTIVE.exec(rest)); rest = rest.slice(match[0].length)) {
			const wanted = REQUIRE.exec(match[2]);
			if (wanted)
				found.push([ wanted[1], wanted[2] ?? wanted[1].replace(/[^a-zA-Z0-9_]/g, '_') ]);
			else if (!/^use\s+strict$/.test(match[2]))
				break;
		}
		return found;
	}

	async function load(name, from) {
		const url = `${L.env.base_url}/${name.replace(/\./g, '/')}.js`;
		const answer = await fetch(url);
		if (!answer.ok)
			L.raise('NetworkError', 'HTTP error %d while loading class file "%s"', answer.status, url);
		const source = await answer.text();
		const wanted = directives(source);
		const needed = await Promise.all(wanted.map(([ other ]) => L.require(other, from)));
		let factory;
		try {
			// A module ends with `return baseclass.extend(…)`: it is the body of a function, in LuCI too.
			factory = new Function('window', 'document', 'L', ...wanted.map(pair => pair[1]), `${source}\n//# sourceURL=${url}\n`);
		}
		catch (error) {
			L.raise('SyntaxError', '%s\n  in %s', error.message, url);
		}
		const type = factory(window, document, L, ...needed);
		if (!Class.isSubclass(type))
			L.raise('TypeError', '"%s" factory yields invalid constructor', name);
		if (/^Anonymous/.test(type.displayName))
			type.displayName = camel(`${name}Class`);
		const instance = CLASSES.includes(name) ? type : new type();
		modules[name] = instance;
		const place = Object.hasOwn(PLACES, name) ? PLACES[name] : name;
		if (place && !place.includes('.'))
			L[place] ??= instance;
		return instance;
	}

	/* --- L ------------------------------------------------------------------------------------------------------ */

	const natural = new Intl.Collator(undefined, { numeric: true }).compare;
	const SEGMENT = /^(?:[a-zA-Z0-9_.%,;-]+\/)*[a-zA-Z0-9_.%,;-]+$/;
	const QUERY = /^\?[a-zA-Z0-9_.%=&;-]+$/;

	const L = window.L = {
		env: JSON.parse(document.getElementById('luci-env').textContent),
		Class,
		loaded: false,
		naturalCompare: natural,

		require(name, from = []) {
			if (modules[name] != null) {
				if (from.includes(name))
					L.raise('DependencyError', 'Circular dependency: class "%s" depends on "%s"', name,
						from.join('" which depends on "'));
				return Promise.resolve(modules[name]);
			}
			return modules[name] = load(name, [ name, ...from ]);
		},

		raise(type, format, ...args) {
			const message = format ? String(format).format(...args) : null;
			let error = type;
			if (type instanceof Error) {
				if (message)
					error.message = `${message}: ${error.message}`;
			}
			else {
				error = new (window[type ?? 'Error'] ?? Error)(message ?? 'Unspecified error');
				error.name = type ?? 'Error';
				// As in LuCI, who shows the whole message shows this too.
				error.message += `\n${error.stack.split('\n').filter(line => /^\s+at /.test(line)).map(line => `  ${line.trim()}`).join('\n')}`;
			}
			throw error;
		},

		error(type, format, ...args) {
			try {
				L.raise(type, format, ...args);
			}
			catch (error) {
				if (!error.reported) {
					error.reported = true;
					const said = E('pre', {}, [ error.message ]);
					L.ui ? L.ui.addNotification(error.name || _('Runtime error'), said, 'danger')
						: document.getElementById('maincontent')?.replaceChildren(said);
				}
				throw error;
			}
		},

		bind(fn, self, ...args) {
			return Function.prototype.bind.call(fn, self, ...args);
		},

		isObject(value) {
			return value != null && typeof value === 'object';
		},

		isArguments(value) {
			return Object.prototype.toString.call(value) === '[object Arguments]';
		},

		toArray(value) {
			if (value == null)
				return [];
			if (Array.isArray(value))
				return value;
			if (typeof value === 'object')
				return [ value ];
			const text = String(value).trim();
			return text === '' ? [] : text.split(/\s+/);
		},

		sortedArray(value) {
			return L.toArray(value).sort(natural);
		},

		sortedKeys(object, key, mode) {
			if (!L.isObject(object))
				return [];
			const padded = text => text.replace(/(?:^|[.:])([0-9a-fA-F]{1,4})/g, (all, digits) => digits.toLowerCase().padStart(4, '0'));
			const rank = name => {
				const value = key == null ? name : object[name][key];
				if (value == null || mode == null)
					return value;
				return mode === 'addr' ? padded(value) : mode === 'num' ? +value : value;
			};
			return Object.keys(object).map(name => [ name, rank(name) ]).filter(pair => pair[1] != null)
				.sort((a, b) => natural(a[1], b[1])).map(pair => pair[0]);
		},

		resolveDefault(value, fallback) {
			return Promise.resolve(value).catch(() => fallback);
		},

		path(prefix = '', parts = []) {
			let url = prefix;
			for (const part of parts) {
				if (Array.isArray(part))
					url += L.path('', part);
				else if (SEGMENT.test(part))
					url += `/${part}`;
				else if (QUERY.test(part))
					url += part;
			}
			return url === prefix ? `${prefix}/` : url;
		},

		url(...parts) {
			return L.path(L.env.scriptname, parts);
		},

		resource(...parts) {
			return L.path(L.env.resource, parts);
		},

		media(...parts) {
			return L.path(L.env.media, parts);
		},

		location() {
			return L.path(L.env.scriptname, [ L.env.requestpath ]);
		},

		fspath(...parts) {
			const clean = [];
			for (const part of [ L.env.documentroot, ...parts ].join('/').split(/\/+/))
				part === '..' ? clean.pop() : part === '.' || clean.push(part);
			return clean.join('/').replace(/\/$/, '');
		},

		/** True: may change things; false: may only look; null: neither. */
		hasViewPermission() {
			const spec = L.env.nodespec;
			return L.isObject(spec) && spec.satisfied ? !spec.readonly : null;
		},

		hasSystemFeature(name, part) {
			const feature = L.env.features?.[name];
			if (part != null)
				return L.isObject(feature) ? feature[part] : null;
			return feature != null && feature !== false;
		}
	};

	window.E = (...args) => L.dom.create(...args);

	/* --- start -------------------------------------------------------------------------------------------------- */

	const dark = window.matchMedia('(prefers-color-scheme: dark)');
	const tellTheme = () => document.documentElement.setAttribute('data-darkmode', dark.matches);
	dark.addEventListener('change', tellTheme);
	tellTheme();

	async function start() {
		await Promise.all([ 'dom', 'request', 'poll', 'ui', 'view' ].map(name => L.require(name)));
		L.loaded = true;
		document.dispatchEvent(new CustomEvent('luci-loaded'));
		L.Poll.start();
		await L.require('menu');
		const place = document.getElementById('view');
		if (place?.dataset.view)
			await L.ui.instantiateView(place.dataset.view);
	}

	document.addEventListener('DOMContentLoaded', () => start().catch(error => L.error(error)));
})();
