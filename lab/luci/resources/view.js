'use strict';
'require baseclass';
'require dom';
'require ui';

/* What a page's module extends: `load()`, then `render(loaded)`, then the buttons under a form. */

const maps = () => [ ...document.querySelectorAll('#maincontent .cbi-map') ];

return baseclass.extend({
	__name__: 'view',

	__init__() {
		const place = document.getElementById('view');
		dom.content(place, E('div', { 'class': 'spinning' }, [ _('Loading view…') ]));
		this.ready = Promise.resolve()
			.then(() => this.load())
			.then(loaded => this.render(loaded))
			.then(nodes => {
				dom.content(place, nodes);
				dom.append(place, this.addFooter());
			})
			.catch(error => L.error(error));
	},

	load() {},

	render() {},

	handleSave() {
		return Promise.all(maps().map(map => dom.callClassMethod(map, 'save')));
	},

	handleSaveApply(ev, mode) {
		return this.handleSave(ev).then(() => ui.changes.apply(mode == '0'));
	},

	handleReset() {
		return Promise.all(maps().map(map => dom.callClassMethod(map, 'reset')));
	},

	addFooter() {
		const footer = E([]);
		if (!this.handleSaveApply && !this.handleSave && !this.handleReset)
			return footer;
		const forms = maps().map(node => dom.findClassInstance(node)).filter(form => form != null);
		const readonly = forms.length ? forms.every(form => form.readonly) : !L.hasViewPermission();
		const button = (handler, look, label) => this[handler] ? E('button', {
			'class': `cbi-button cbi-button-${look}`,
			'click': ui.createHandlerFn(this, handler),
			'disabled': readonly || null
		}, [ label ]) : '';
		const apply = this.handleSaveApply ? new ui.ComboButton('0', {
			0: [ _('Save & Apply') ],
			1: [ _('Apply unchecked') ]
		}, {
			classes: {
				0: 'btn cbi-button cbi-button-apply important',
				1: 'btn cbi-button cbi-button-negative important'
			},
			click: ui.createHandlerFn(this, 'handleSaveApply'),
			disabled: readonly || null
		}).render() : '';
		footer.appendChild(E('div', { 'class': 'cbi-page-actions' }, [
			apply, ' ', button('handleSave', 'save', _('Save')), ' ', button('handleReset', 'reset', _('Reset'))
		]));
		return footer;
	}
});
