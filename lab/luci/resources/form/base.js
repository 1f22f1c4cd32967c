'use strict';
'require baseclass';
'require dom';

/* What maps, sections and options of a form have in common, and how their values are compared. */

/** `y` may be a regular expression that the value has to match. */
function isEqual(x, y) {
	if (y instanceof RegExp)
		return x != null && y.test(x);
	if (x == null || y == null)
		return x == null && y == null;
	if (typeof x !== typeof y)
		return false;
	if (typeof x !== 'object')
		return x == y;
	const keys = Object.keys(x);
	return keys.length === Object.keys(y).length && keys.every(key => Object.hasOwn(y, key) && isEqual(x[key], y[key]));
}

function isContained(x, y) {
	if (Array.isArray(x))
		return x.some(item => item == y);
	return L.isObject(x) ? x[y] != null : typeof x === 'string' && x.includes(y);
}

const AbstractElement = baseclass.extend({
	__init__(title, description) {
		this.title = title ?? '';
		this.description = description ?? '';
		this.children = [];
	},

	append(child) {
		this.children.push(child);
	},

	parse(...args) {
		return Promise.all(this.children.map(child => child.parse(...args)));
	},

	render() {
		L.error('InternalError', 'Not implemented');
	},

	loadChildren(...args) {
		return Promise.all(this.children.filter(child => !child.disable).map(child => child.load(...args)));
	},

	renderChildren(tab, ...args) {
		const shown = this.children.filter(child => !child.disable && (tab === null || child.tab === tab));
		return Promise.all(shown.map((child, index) => child.render(index, ...args)));
	},

	/** Titles may hold markup; where only text will do, this is the text of it. */
	stripTags(value) {
		if (typeof value === 'string' && !/[<>&]/.test(value))
			return value;
		const node = dom.elem(value) ? value : dom.parse(`<div>${value}</div>`);
		node.querySelectorAll('br').forEach(br => br.replaceWith('\n'));
		return node.textContent.replace(/([ \t]*\n)+/g, '\n');
	},

	/** A caption that may be a function of `args`, or a format for them; null when there is none. */
	titleFn(attribute, ...args) {
		const given = this[attribute];
		const text = typeof given === 'function' ? given.apply(this, args)
			: typeof given === 'string' && args.length ? given.format(...args) : given;
		return text == null ? null : this.stripTags(String(text)).trim() || null;
	}
});

return baseclass.extend({ AbstractElement, isEqual, isContained });
