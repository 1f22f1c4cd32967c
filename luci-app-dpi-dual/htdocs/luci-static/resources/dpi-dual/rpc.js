'use strict';
'require baseclass';
'require rpc';
'require ui';

/*
 * The ubus calls of the suite, and what happens when one fails.
 *
 *   dpi.lan.clients({ limit: 50, sort: 'rate' })   -> Promise of the answer, parameters by name
 *   dpi.failed(answer)                             -> true when the answer is { error, code }
 *   dpi.report(answer)                             -> true when it succeeded, else shows its error text
 *   dpi.report(answer, 'Banned 203.0.113.9')       -> and shows this when it succeeded
 *   dpi.confirm(title, children, label)            -> Promise of true or false: a dialogue asks first
 *   dpi.may_write()                                -> false for read-only users: offer them no buttons
 *
 * Calls never reject: a refused, timed out or lost call resolves to { error, code: 'rpc' } like any failed one,
 * so that a page has one way of saying that something went wrong. Answers are as `schema/ubus.json` declares them;
 * "engine": "down" marks what was answered without the engine.
 */

const method = (object, name, params = []) => {
	const call = rpc.declare({ object: object, method: name, params: params, reject: true });

	return (given = {}) => call(...params.map(key => given[key])).then(
		answer => L.isObject(answer) ? answer : { error: _('The router gave no answer.'), code: 'rpc' },
		// The message of LuCI's own errors goes on with the frames they came through.
		error => ({ error: String(error.message ?? error).split('\n')[0], code: 'rpc' })
	);
};

const status = {
	overview: method('dpi.status', 'overview', [ 'range', 'since' ]),
	status: method('dpi.status', 'status'),
	flows: method('dpi.status', 'flows', [ 'limit', 'before', 'state', 'protocol', 'ip' ]),
	buffer: method('dpi.status', 'buffer'),
	alerts: method('dpi.status', 'alerts', [ 'limit', 'before', 'id', 'ip', 'category', 'rule', 'host', 'min_score', 'blocked', 'since', 'until' ]),
	replay: method('dpi.status', 'replay', [ 'id', 'ip', 'limit', 'exclusions', 'rules', 'active', 'force' ]),
	mirror: method('dpi.status', 'mirror'),
	mirror_start: method('dpi.status', 'mirror_start'),
	mirror_stop: method('dpi.status', 'mirror_stop'),
	history: method('dpi.status', 'history', [ 'range' ]),
	health: method('dpi.status', 'health'),
	version: method('dpi.status', 'version'),
	start: method('dpi.status', 'start'),
	stop: method('dpi.status', 'stop'),
	restart: method('dpi.status', 'restart')
};

const lan = {
	status: method('dpi.lan', 'status'),
	clients: method('dpi.lan', 'clients', [ 'limit', 'before', 'sort', 'search', 'figures' ]),
	client: method('dpi.lan', 'client', [ 'client', 'period', 'figures' ]),
	destinations: method('dpi.lan', 'destinations', [ 'limit', 'before', 'client', 'search', 'figures' ]),
	protocols: method('dpi.lan', 'protocols', [ 'limit', 'before', 'figures' ]),
	applications: method('dpi.lan', 'applications', [ 'limit', 'before', 'client' ]),
	flows: method('dpi.lan', 'flows', [ 'limit', 'before', 'state', 'protocol', 'ip' ]),
	history: method('dpi.lan', 'history', [ 'client', 'application', 'period', 'figures' ])
};

const correlator = {
	stats: method('dpi.correlator', 'stats'),
	timeline: method('dpi.correlator', 'timeline',
		[ 'limit', 'before', 'ip', 'type', 'min_score', 'since', 'until', 'state', 'context', 'figures' ]),
	search: method('dpi.correlator', 'search', [ 'query', 'limit', 'before' ]),
	context: method('dpi.correlator', 'context', [ 'ip', 'id' ]),
	reputation: method('dpi.correlator', 'reputation', [ 'ip', 'limit', 'before' ]),
	correlate: method('dpi.correlator', 'correlate', [ 'ip', 'event_type', 'reason', 'score' ]),
	ban: method('dpi.correlator', 'ban', [ 'ip', 'duration', 'reason' ]),
	unban: method('dpi.correlator', 'unban', [ 'ip' ]),
	bans: method('dpi.correlator', 'bans', [ 'limit', 'before' ]),
	whitelist: method('dpi.correlator', 'whitelist'),
	whitelist_add: method('dpi.correlator', 'whitelist_add', [ 'ip' ]),
	whitelist_remove: method('dpi.correlator', 'whitelist_remove', [ 'ip' ]),
	reset_reputation: method('dpi.correlator', 'reset_reputation', [ 'ip' ]),
	tuning: method('dpi.correlator', 'tuning'),
	set_tuning: method('dpi.correlator', 'set_tuning', [
		'sensitivity', 'window', 'reputation_decay', 'decay_interval', 'notifications', 'notification_threshold',
		'watch_crowdsec', 'auto_ban_threshold', 'auto_ban_duration', 'waf_block', 'waf_alert', 'crowdsec_ban',
		'dpi_threat', 'scanner', 'brute_force', 'default'
	]),
	set_auto_ban: method('dpi.correlator', 'set_auto_ban', [ 'enabled', 'threshold', 'duration' ]),
	acknowledge: method('dpi.correlator', 'acknowledge', [ 'id', 'ip', 'rule', 'mute', 'duration', 'remove' ]),
	decay: method('dpi.correlator', 'decay'),
	notifications: method('dpi.correlator', 'notifications', [ 'limit' ]),
	scorecard: method('dpi.correlator', 'scorecard', [ 'period' ])
};

/* The notification now on the page for each text, so that the same failure is said once and not once a poll. */
const shown = new Map();

/* `text` may hold anything: it becomes a text node. `kind`: 'error' or 'success', for the theme's colours. */
const notify = (text, kind) => {
	shown.get(text)?.remove();
	const entry = ui.addNotification(null, E('p', {}, [ text ]), kind);
	if (entry) {
		entry.setAttribute('role', kind == 'error' ? 'alert' : 'status');
		shown.set(text, entry);
	}
};

const failed = answer => !L.isObject(answer) || answer.error != null;

const report = (answer, success) => {
	if (failed(answer)) {
		notify(answer?.error ? String(answer.error) : _('The router gave no answer.'), 'error');
		return false;
	}
	if (success)
		notify(success, 'success');
	return true;
};

/* `title` is a sentence of ours (LuCI takes it as HTML); `children` are nodes and texts; `label` is the button that does it. */
const confirm = (title, children, label) => new Promise(resolve => {
	const before = document.activeElement;
	const close = sure => {
		document.removeEventListener('keydown', escape);
		ui.hideModal();
		before?.focus?.({ preventScroll: true });
		resolve(sure);
	};
	const escape = ev => { if (ev.key == 'Escape') close(false); };
	const sure = E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-negative important', 'click': () => close(true) }, [ label ]);
	const modal = ui.showModal(title, [
		E('p', {}, children),
		E('div', { 'class': 'right' }, [
			E('button', { 'type': 'button', 'class': 'btn cbi-button', 'click': () => close(false) }, [ _('Cancel') ]), ' ', sure
		])
	]);
	modal?.setAttribute?.('aria-label', title);
	document.addEventListener('keydown', escape);
	sure.focus();
});

return baseclass.extend({
	status: status,
	lan: lan,
	correlator: correlator,
	failed: failed,
	report: report,
	notify: notify,
	confirm: confirm,
	may_write: () => L.hasViewPermission() === true
});
