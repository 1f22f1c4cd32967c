'use strict';
'require baseclass';
'require dom';
'require session';

/* Tabs made of sibling panes with data-tab and data-tab-title. */

const empty = pane => dom.isEmpty(pane, node => node.classList.contains('cbi-tab-descr'));

/** Where a group of panes is, in words that survive a reload. */
function pathOf(pane) {
	const path = [];
	for (let node = pane.parentElement; node; node = node.parentElement)
		path.unshift(node.getAttribute('data-tab') ?? node.getAttribute('data-section-id') ?? '');
	return path.filter(Boolean).join('/');
}

function remembered() {
	const state = session.getLocalData('tab');
	return L.isObject(state) && state.page === document.body.getAttribute('data-page') ? state
		: { page: document.body.getAttribute('data-page'), paths: {} };
}

return baseclass.extend({
	initTabGroup(nodes) {
		const panes = [ ...nodes ].filter(node => dom.matches(node, '[data-tab]'));
		const group = panes[0]?.parentNode;
		if (!group || group.getAttribute('data-initialized') === 'true')
			return;
		const saved = remembered().paths[pathOf(panes[0])];
		const active = panes.find(pane => pane.getAttribute('data-tab-active') === 'true') ??
			(panes[saved] && !empty(panes[saved]) ? panes[saved] : panes.find(pane => !empty(pane)) ?? panes[0]);
		const menu = E('ul', { 'class': 'cbi-tabmenu', 'role': 'tablist' }, panes.map(pane => E('li', {
			'class': 'cbi-tab-disabled',
			'data-tab': pane.getAttribute('data-tab'),
			'role': 'presentation'
		}, [
			E('a', { 'href': '#', 'role': 'tab', 'click': ev => this.switchTab(ev) }, [ pane.getAttribute('data-tab-title') ])
		])));
		group.parentNode.insertBefore(menu, group);
		group.setAttribute('data-initialized', true);
		this.select(menu, group, active.getAttribute('data-tab'));
		this.updateTabs(null, group);
	},

	select(menu, group, name) {
		for (const tab of menu.children) {
			const active = tab.getAttribute('data-tab') === name;
			tab.classList.toggle('cbi-tab', active);
			tab.classList.toggle('cbi-tab-disabled', !active);
			tab.firstElementChild.setAttribute('aria-selected', active);
		}
		[ ...group.children ].filter(pane => pane.hasAttribute('data-tab')).forEach((pane, index) => {
			const active = pane.getAttribute('data-tab') === name;
			pane.setAttribute('data-tab-active', active);
			if (active) {
				const state = remembered();
				state.paths[pathOf(pane)] = index;
				session.setLocalData('tab', state);
				requestAnimationFrame(() => pane.dispatchEvent(new CustomEvent('cbi-tab-active', { detail: { tab: name } })));
			}
		});
	},

	switchTab(ev) {
		const tab = ev.currentTarget.parentNode, menu = tab.parentNode;
		ev.preventDefault();
		this.select(menu, menu.nextElementSibling, tab.getAttribute('data-tab'));
	},

	/** Hides tabs with nothing on them, marks those with faults. */
	updateTabs(ev, root) {
		for (const pane of (root ?? document).querySelectorAll('[data-tab-title]')) {
			const tab = [ ...pane.parentNode.previousElementSibling?.children ?? [] ]
				.find(item => item.getAttribute('data-tab') === pane.getAttribute('data-tab'));
			if (!tab)
				continue;
			tab.style.display = empty(pane) ? 'none' : '';
			const faults = pane.querySelectorAll('.cbi-input-invalid').length;
			for (const [ name, value ] of [ [ 'data-errors', faults ], [ 'data-tooltip', _('%d invalid field(s)').format(faults) ],
				[ 'data-tooltip-style', 'error' ] ])
				faults ? tab.setAttribute(name, value) : tab.removeAttribute(name);
		}
	}
});
