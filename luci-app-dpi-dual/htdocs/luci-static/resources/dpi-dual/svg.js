'use strict';
'require baseclass';

/*
 * What every chart is made of: SVG nodes in the theme's colours, classes dpi-c0 … dpi-c5 of dpi-dual.css.
 *
 *   node(name, attributes, children)  an SVG element; null leaves an attribute out, children that are no nodes become text
 *   next_id()                         an id that no other chart of the page has
 *   described(id, title)              { attributes, nodes, say(text) }: a chart's accessible name, and its description
 *   swatch(children, width)           a small picture of a series' or slice's own colour, dash and pattern
 */

const NS = 'http://www.w3.org/2000/svg';
let charts = 0;

const next_id = () => `dpi-chart-${++charts}`;

const node = (name, attributes = {}, children = []) => {
	const made = document.createElementNS(NS, name);
	for (const key of Object.keys(attributes))
		if (attributes[key] != null)
			made.setAttribute(key, attributes[key]);
	for (const child of children)
		made.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
	return made;
};

/* <title> and <desc> of a chart, and the attributes that name it by them. */
const described = (id, title) => {
	const desc = node('desc', { id: `${id}-desc` });
	return {
		attributes: { 'role': 'img', 'aria-labelledby': `${id}-title`, 'aria-describedby': `${id}-desc` },
		nodes: [ node('title', { id: `${id}-title` }, [ title ]), desc ],
		say: text => { if (desc.textContent != text) desc.textContent = text; }
	};
};

const swatch = (children, width = 22) => node('svg', {
	'class': 'dpi-swatch', 'width': width, 'height': 12, 'viewBox': `0 0 ${width} 12`, 'aria-hidden': 'true', 'focusable': 'false'
}, children);

return baseclass.extend({ node: node, next_id: next_id, described: described, swatch: swatch });
