'use strict';
'require baseclass';
'require dom';
'require poll';
'require request';
'require rpc';
'require session';
'require ui.element as element';
'require ui.widgets as widgets';
'require ui.dropdown as dropdown';
'require ui.dynlist as dynlist';
'require ui.overlay as overlay';
'require ui.tabs as tabs';
'require ui.table as table';
'require ui.changes as changes';

/* LuCI's `ui`: widgets, dialogs, tabs, menu, staged changes, under their names there. */

/** Cuts away what the user may not see. */
function scrub(node) {
	for (const [ name, child ] of Object.entries(node.children ?? {})) {
		if (!child.satisfied)
			delete node.children[name];
		else
			scrub(child);
	}
	return node;
}

const menu = {
	load() {
		return this.loading ??= request.get(L.url('admin/menu')).then(answer => this.menu = scrub(answer.json()));
	},

	flushCache() {
		delete this.loading;
	},

	getChildren(node = this.menu) {
		return Object.entries(node?.children ?? {}).filter(([ , child ]) => child.title != null)
			.map(([ name, child ]) => ({ ...child, name }))
			.sort((a, b) => (a.order ?? 1000) - (b.order ?? 1000) || L.naturalCompare(a.name, b.name));
	}
};

const callAccess = rpc.declare({
	object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: true }
});

function sessionExpired() {
	poll.stop();
	overlay.showModal(_('Session expired'), [
		E('div', { 'class': 'alert-message warning' }, [ _('A new login is required since the authentication session expired.') ]),
		E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn primary', 'click': () => window.location.reload() }, [ _('Log in…') ])
		])
	]);
	L.raise('SessionError', 'Login session is expired');
}

/* A refused call may mean that the session is over: then nothing at all is allowed any more. */
rpc.addInterceptor((reply, about) => {
	if (reply?.error?.code !== -32002 || about.object === 'session' && about.method === 'access')
		return;
	return callAccess('uci', 'luci', 'read').catch(sessionExpired);
});

request.addInterceptor(response => {
	if (response.status === 403 && response.headers.get('X-LuCI-Login-Required') === 'yes')
		sessionExpired();
});

document.addEventListener('poll-start', () => overlay.showIndicator('poll-status', _('Refreshing'),
	() => poll.active() ? poll.stop() : poll.start()));
document.addEventListener('poll-stop', () => overlay.showIndicator('poll-status', _('Paused'), null, 'inactive'));

const RECONNECT_AFTER_MS = 5000;

return baseclass.extend({
	menu, tabs, changes,
	Table: table.Table,
	AbstractElement: element.Element,
	addValidator: element.addValidator,
	...Object.fromEntries([ 'Textfield', 'Textarea', 'Checkbox', 'Select', 'Hiddenfield' ].map(name => [ name, widgets[name] ])),
	...Object.fromEntries([ 'Dropdown', 'Combobox', 'ComboButton' ].map(name => [ name, dropdown[name] ])),
	DynamicList: dynlist.DynamicList,
	...Object.fromEntries([ 'showModal', 'hideModal', 'addNotification', 'addTimeLimitedNotification', 'showIndicator', 'hideIndicator',
		'showTooltip', 'hideTooltip' ].map(name => [ name, (...args) => overlay[name](...args) ])),

	/** A handler that keeps its button disabled and spinning until it is done. */
	createHandlerFn(context, fn, ...args) {
		const run = typeof fn === 'string' ? context[fn] : fn;
		if (typeof run !== 'function')
			return null;
		return (ev, ...rest) => {
			const button = ev.currentTarget;
			button.classList.add('spinning');
			button.disabled = true;
			button.blur?.();
			Promise.resolve(run.call(context, ...args, ev, ...rest)).finally(() => {
				button.classList.remove('spinning');
				button.disabled = false;
			});
		};
	},

	itemlist(node, items, separators) {
		const between = Array.isArray(separators) ? separators : [ separators ?? E('br') ];
		const children = [];
		for (let i = 0; i < items.length; i += 2) {
			if (items[i + 1] == null)
				continue;
			const separator = between[i / 2 % between.length];
			children.push(E('span', { 'class': 'nowrap' }, [ items[i] ? E('strong', {}, [ `${items[i]}: ` ]) : '', items[i + 1] ]));
			if (i + 2 < items.length)
				children.push(dom.elem(separator) ? separator.cloneNode(true) : separator);
		}
		dom.content(node, children);
		return node;
	},

	pingDevice() {
		return fetch(L.resource('icons/loading.svg'), { cache: 'no-store', signal: AbortSignal.timeout(1000) });
	},

	awaitReconnect() {
		window.setTimeout(() => poll.add(() => this.pingDevice().then(() => {
			poll.stop();
			window.location = '/';
		}, () => {})), RECONNECT_AFTER_MS);
	},

	async instantiateView(path) {
		const view = await L.require(`view.${path.replace(/\//g, '.')}`);
		if (!(view instanceof L.view))
			throw new TypeError(`Loaded class view.${path} is not a descendant of View`);
		return view;
	}
});
