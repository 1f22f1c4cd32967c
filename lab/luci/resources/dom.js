'use strict';
'require baseclass';

/* Making and finding elements, as LuCI's `dom` does; `E()` is `dom.create()`. */

const instances = new WeakMap();
const registry = new WeakMap();

return baseclass.extend({
	elem(value) {
		return value != null && typeof value === 'object' && 'nodeType' in value;
	},

	parse(markup) {
		return new DOMParser().parseFromString(markup, 'text/html').body.firstChild;
	},

	matches(node, selector) {
		return this.elem(node) && node.matches ? node.matches(selector) : false;
	},

	parent(node, selector) {
		if (this.elem(node) && node.nodeType === Node.TEXT_NODE)
			node = node.parentElement;
		return this.elem(node) && node.closest ? node.closest(selector) : null;
	},

	/**
	 * Appends a node, or each item of a list: what is no node there becomes text, even null. A lone string, though,
	 * REPLACES what is there and is parsed as markup. LuCI does both, and a view that is careless must look so here too.
	 */
	append(node, children) {
		if (!this.elem(node) || children == null)
			return null;
		if (typeof children === 'function')
			return this.append(node, children(node));
		if (this.elem(children))
			return node.appendChild(children);
		if (Array.isArray(children)) {
			for (const child of children)
				node.appendChild(this.elem(child) ? child : document.createTextNode(`${child}`));
			return node.lastChild;
		}
		if (node.nodeType === Node.ELEMENT_NODE) {
			node.replaceChildren();
			node.insertAdjacentHTML('beforeend', `${children}`);
		}
		return node.lastChild;
	},

	content(node, children) {
		if (!this.elem(node))
			return null;
		node.replaceChildren();
		return this.append(node, children);
	},

	attr(node, key, value) {
		if (!this.elem(node))
			return null;
		const attributes = typeof key === 'string' ? { [key]: value } : key ?? {};
		for (const name of Object.keys(attributes)) {
			const given = attributes[name];
			if (given == null)
				continue;
			if (typeof given === 'function')
				node.addEventListener(name, given);
			else
				node.setAttribute(name, typeof given === 'object' ? JSON.stringify(given) : given);
		}
	},

	/** `what` is a tag name, markup that begins with `<`, an element, or a list of these for a fragment. */
	create(what, attributes, children) {
		if (!(attributes instanceof Object) || Array.isArray(attributes)) {
			children = attributes;
			attributes = null;
		}
		let node;
		if (Array.isArray(what)) {
			node = document.createDocumentFragment();
			what.forEach(item => node.appendChild(this.create(item)));
		}
		else if (this.elem(what))
			node = what;
		else
			node = what.startsWith('<') ? this.parse(what) : document.createElement(what);
		if (!node)
			return null;
		this.attr(node, attributes);
		this.append(node, children);
		return node;
	},

	data(node, ...args) {
		if (!node?.getAttribute)
			return null;
		const [ key, value ] = args;
		const kept = registry.get(node);
		if (args.length === 0)
			return kept ?? null;
		if (key == null) {
			registry.delete(node);
			return kept ?? null;
		}
		if (args.length === 1)
			return kept?.[key] ?? null;
		if (value == null) {
			const old = kept?.[key] ?? null;
			if (kept)
				delete kept[key];
			return old;
		}
		registry.set(node, Object.assign(kept ?? {}, { [key]: value }));
		return value;
	},

	bindClassInstance(node, instance) {
		if (!(instance instanceof baseclass))
			L.error('TypeError', 'Argument must be a class instance');
		instances.set(node, instance);
		return instance;
	},

	findClassInstance(node) {
		for (; node != null; node = node.parentNode)
			if (instances.has(node))
				return instances.get(node);
		return null;
	},

	callClassMethod(node, method, ...args) {
		const instance = this.findClassInstance(node);
		return typeof instance?.[method] === 'function' ? instance[method](...args) : null;
	},

	isEmpty(node, ignore) {
		return ![ ...node?.children ?? [] ].some(child => !child.classList.contains('hidden') && !ignore?.(child));
	}
});
