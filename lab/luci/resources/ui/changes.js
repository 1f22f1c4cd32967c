'use strict';
'require baseclass';
'require dom';
'require request';
'require uci';
'require ui.overlay as overlay';
'require ui.dropdown as dropdown';

/* What was saved but not applied yet: shown, applied (and taken back unless confirmed), or reverted. */

const AGAIN_MS = 1000;

const sleep = ms => new Promise(resolve => window.setTimeout(resolve, ms));

function post(action, query = {}) {
	return request.post(L.url('admin/uci', action), null, {
		timeout: L.env.apply_timeout * 1000,
		query: { sid: L.env.sessionid, token: L.env.token, ...query }
	});
}

/** One staged change as the `uci` command that would do the same. */
function command(config, [ what, section, ...rest ]) {
	const quoted = value => `'${String(value).replace(/'/g, "'\"'\"'")}'`;
	switch (`${what}-${rest.length}`) {
	case 'add-1': return [ 'ins', `uci add ${config} ${rest[0]} # =${section}` ];
	case 'set-1': return [ 'ins', `uci set ${config}.${section}=${rest[0]}` ];
	case 'set-2': return [ 'var', `uci set ${config}.${section}.${rest[0]}=${quoted(rest[1])}` ];
	case 'remove-0': return [ 'del', `uci del ${config}.${section}` ];
	case 'remove-1': return [ 'var', `uci del ${config}.${section}.${rest[0]}` ];
	case 'list-add-2': return [ 'var', `uci add_list ${config}.${section}.${rest[0]}=${quoted(rest[1])}` ];
	case 'list-del-2': return [ 'var', `uci del_list ${config}.${section}.${rest[0]}=${quoted(rest[1])}` ];
	case 'order-1': return [ 'var', `uci reorder ${config}.${section}=${rest[0]}` ];
	default: return [ 'var', `${what} ${config}.${section} ${rest.join(' ')}` ];
	}
}

return baseclass.extend({
	__init__() {
		this.changes = {};
		for (const event of [ 'luci-loaded', 'uci-loaded' ])
			document.addEventListener(event, () => this.init());
	},

	init() {
		return L.env.sessionid ? uci.changes().then(changes => this.renderChangeIndicator(changes)) : null;
	},

	renderChangeIndicator(changes) {
		this.changes = changes;
		this.setIndicator(Object.values(changes).reduce((sum, list) => sum + list.length, 0));
	},

	setIndicator(count) {
		if (count > 0)
			overlay.showIndicator('uci-changes', '%s: %d'.format(_('Unsaved Changes'), count), () => this.displayChanges());
		else
			overlay.hideIndicator('uci-changes');
	},

	displayChanges() {
		const list = E('div', { 'class': 'uci-change-list' });
		for (const [ config, changes ] of Object.entries(this.changes)) {
			list.appendChild(E('h5', {}, [ `# /etc/config/${config}` ]));
			for (const change of changes) {
				const [ tag, text ] = command(config, change);
				list.appendChild(E('div', {}, [ E(tag, {}, [ text ]) ]));
			}
		}
		overlay.showModal(`${_('Configuration')} / ${_('Changes')}`, [ list, E('div', { 'class': 'button-row' }, [
			E('button', { 'class': 'btn cbi-button', 'click': () => overlay.hideModal() }, [ _('Close') ]), ' ',
			new dropdown.ComboButton('0', { 0: [ _('Save & Apply') ], 1: [ _('Apply unchecked') ] }, {
				classes: {
					0: 'btn cbi-button cbi-button-positive important',
					1: 'btn cbi-button cbi-button-negative important'
				},
				click: (ev, mode) => this.apply(mode == '0')
			}).render(), ' ',
			E('button', { 'class': 'btn cbi-button cbi-button-reset', 'click': () => this.revert() }, [ _('Revert') ])
		]) ], 'uci-dialog');
	},

	displayStatus(type, content) {
		if (!type) {
			overlay.hideModal();
			if (this.wasPolling)
				L.Poll.start();
			return;
		}
		dom.content(overlay.showModal('', [], 'alert-message', ...type.split(/\s+/)), content);
		this.wasPolling ||= L.Poll.active();
		L.Poll.stop();
	},

	_said(type, text) {
		this.displayStatus(type, [ E('p', {}, [ text ]) ]);
	},

	async _reload(text) {
		this._said('notice', text);
		await sleep(L.env.apply_display * 1000);
		window.location = window.location.href.split('#')[0];
	},

	async _dismiss(text) {
		this._said('warning', text);
		await sleep(L.env.apply_display * 1000);
		this.displayStatus(false);
	},

	async apply(checked) {
		this._said('notice spinning', _('Starting configuration apply…'));
		const answer = await post(checked ? 'apply_rollback' : 'apply_unchecked');
		if (checked ? answer.status === 200 : answer.status === 204 || answer.status === 200)
			return this.confirm(checked, Date.now() + L.env.apply_rollback * 1000, checked ? answer.json().token : null);
		return this._dismiss(answer.status === 204 ? _('There are no changes to apply')
			: _('Apply request failed with status %s').format(answer.responseText || answer.statusText || answer.status));
	},

	/** Tells the router, until it answers, that it can still be reached. */
	async confirm(checked, deadline, token) {
		await sleep(L.env.apply_holdoff * 1000);
		while (Date.now() < deadline) {
			this._said('notice spinning', _('Applying configuration changes… %ds').format(Math.max((deadline - Date.now()) / 1000, 0)));
			const answer = await post('confirm', { token }).catch(() => null);
			if (answer?.status === 200 || answer?.status === 204) {
				document.dispatchEvent(new CustomEvent('uci-applied'));
				this.setIndicator(0);
				return this._reload(_('Configuration changes applied.'));
			}
			await sleep(AGAIN_MS);
		}
		this._said('warning', checked ? _('Configuration changes have been rolled back!') : _('Device unreachable!'));
	},

	async revert() {
		this._said('notice spinning', _('Reverting configuration…'));
		const answer = await post('revert');
		if (answer.status !== 200)
			return this._dismiss(_('Revert request failed with status %s').format(answer.statusText || answer.status));
		document.dispatchEvent(new CustomEvent('uci-reverted'));
		this.setIndicator(0);
		return this._reload(_('Changes have been reverted.'));
	}
});
