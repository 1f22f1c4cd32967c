'use strict';
'require baseclass';
'require ui';

/* The menus of a page: the top one, the tabs of the third level and below. */

return baseclass.extend({
	__init__() {
		ui.menu.load().then(tree => this.render(tree)).catch(error => L.error(error));
	},

	render(tree) {
		const path = L.env.dispatchpath;
		const mode = ui.menu.getChildren(tree).find(child => child.name === path[0]) ?? ui.menu.getChildren(tree)[0];
		if (mode)
			this.renderTop(mode);
		let node = tree, depth = 0;
		for (; depth < 3 && node; depth++)
			node = node.children?.[path[depth]];
		for (; node && path[depth]; node = node.children?.[path[depth++]])
			this.renderTabs(node, path.slice(0, depth), path[depth]);
	},

	renderTop(mode) {
		const list = document.getElementById('topmenu');
		for (const section of ui.menu.getChildren(mode)) {
			const pages = ui.menu.getChildren(section);
			const link = E('a', {
				'class': pages.length ? 'menu' : '',
				'href': pages.length ? '#' : L.url(mode.name, section.name),
				'aria-haspopup': pages.length ? 'true' : null
			}, [ _(section.title) ]);
			list.appendChild(E('li', { 'class': pages.length ? 'dropdown' : '' }, [ link, pages.length ? E('ul', {
				'class': 'dropdown-menu'
			}, pages.map(page => E('li', {}, [
				E('a', { 'href': L.url(mode.name, section.name, page.name) }, [ _(page.title) ])
			]))) : '' ]));
			link.addEventListener('click', ev => pages.length && ev.preventDefault());
		}
		list.style.display = '';
	},

	renderTabs(node, path, active) {
		const pages = ui.menu.getChildren(node);
		if (!pages.length)
			return;
		const bar = document.getElementById('tabmenu');
		bar.appendChild(E('ul', { 'class': 'tabs' }, pages.map(page => E('li', {
			'class': `tabmenu-item-${page.name} ${page.name === active ? 'active' : ''}`
		}, [
			E('a', { 'href': L.url(...path, page.name), 'aria-current': page.name === active ? 'page' : null }, [ _(page.title) ])
		]))));
		bar.style.display = '';
	}
});
