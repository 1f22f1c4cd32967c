'use strict';
'require view';
'require dom';
'require poll';

/* The front status page: a card for each module in view/status/include, polled together. */

return view.extend({
	load() {
		return Promise.all(L.env.includes.map(name => L.require(`view.status.include.${name}`)));
	},

	async render(includes) {
		const cards = includes.map(include => ({ include, body: E('div'), key: String(include.title ?? include), failed: false }));
		const nodes = cards.map(card => {
			card.hidden = localStorage.getItem(card.key) === 'hide';
			const label = E('button', {
				'class': 'label',
				'type': 'button',
				'click': () => {
					card.hidden = !card.hidden;
					localStorage.setItem(card.key, card.hidden ? 'hide' : '');
					label.textContent = card.hidden ? _('Show') : _('Hide');
					card.body.style.display = card.hidden ? 'none' : '';
					this.update([ card ]);
				}
			}, [ card.hidden ? _('Show') : _('Hide') ]);
			card.node = E('div', { 'class': 'cbi-section', 'style': 'display:none' }, [
				E('div', { 'class': 'cbi-title' }, [
					E('h3', { 'style': 'display:flex; justify-content:space-between' }, [ card.include.title ?? '-', label ])
				]),
				card.body
			]);
			card.body.style.display = card.hidden ? 'none' : '';
			return card.node;
		});
		await this.update(cards, true);
		poll.add(() => this.update(cards));
		return E([], [ E('h2', {}, [ _('Status') ]), ...nodes ]);
	},

	async update(cards, first) {
		await Promise.all(cards.filter(card => !card.failed && (first || !card.hidden)).map(async card => {
			let loaded = null;
			try {
				loaded = await card.include.load?.();
			}
			catch (error) {
				card.failed = true;  // one card that cannot load does not keep the others from it
				return;
			}
			const content = card.include.render ? await card.include.render(loaded) : card.include.content;
			if (content == null)
				return;
			card.node.style.display = '';
			card.include.oneshot?.(loaded);
			card.include.oneshot = null;
			dom.content(card.body, content);
		}));
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
