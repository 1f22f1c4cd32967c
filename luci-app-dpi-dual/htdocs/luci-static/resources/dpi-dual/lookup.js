'use strict';
'require baseclass';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/*
 * The box that takes an address: what is known about it, and an entry by hand of what it did.
 * It takes the reference number of a refused request, too: what the request was, whose, and why it was refused.
 *
 *   create({ done() }) -> { node }     done: something was recorded
 */

const TYPES = {
	scanner: _('Scanner'),
	brute_force: _('Brute force'),
	waf_alert: _('WAF alert'),
	waf_block: _('WAF block'),
	dpi_threat: _('Risky flow')
};

const link = (text, path, values) => E('a', { 'href': place.link(path, values) }, [ text ]);

/* What is known, in few figures; the timeline has the whole. */
const known = (ip, answer) => {
	const standing = answer.reputation ?? {};
	const rows = [
		[ _('Reputation'), tables.score(Math.round(standing.score ?? 0)) ],
		[ _('Who'), { remote: _('a remote address'), client: _('a client of the LAN'), own: _('this router'), connected: _('in a connected network') }[standing.kind] ?? '–' ],
		[ _('CrowdSec'), answer.crowdsec?.banned ? tables.badge(_('banned'), 'error') : _('no ban') ],
		[ _('Threats'), tables.count(answer.threats_total ?? 0) ],
		[ _('Requests, last hour'), tables.count(answer.mitm_requests?.length ?? 0) ],
		[ _('Flows, last hour'), tables.count(answer.dpi_flows?.length ?? 0) ],
		[ _('WAF alerts'), tables.count(answer.waf_alerts?.length ?? 0) ]
	];
	const timeline = link(_('All that was correlated about it'), 'admin/secubox/dpi-dual/timeline', { ip: ip });
	const client = standing.kind == 'client' ? link(_('The client'), 'admin/secubox/dpi-dual/lan', { client: standing.mac || ip }) : '';
	return E('div', {}, [
		E('h4', {}, [ tables.wire(ip, 64), standing.hostname ? ' · ' : '', standing.hostname ? tables.wire(standing.hostname, 40) : '' ]),
		E('dl', { 'class': 'dpi-figures' }, rows.flatMap(([ label, value ]) => [ E('dt', {}, [ label ]), E('dd', {}, [ value ]) ])),
		standing.never_banned ? E('p', { 'class': 'dpi-quiet' }, [ _('Never banned: %s.').format(standing.never_banned) ]) : '',
		E('p', {}, [ timeline, client ? ' · ' : '', client ])
	]);
};

/* As a block page shows it; no address looks like it. */
const REFERENCE = /^[0-9a-f]{16}(-[a-z-]+)?$/;

/* The alerts of one request. */
const told = alerts => alerts.map(alert => E('div', {}, [
	E('h4', {}, [ tables.event(alert.event), ' · ', tables.wire(alert.client_ip, 64) ]),
	E('dl', { 'class': 'dpi-figures' }, [
		[ _('Time'), E('span', { 'title': tables.time(alert.at) }, [ tables.age(alert.at) ]) ],
		[ _('Request'), tables.wire(`${alert.method} ${alert.host}${alert.path}`, 160) ],
		[ _('Score'), tables.score(alert.threat_score) ],
		[ _('Blocked'), alert.blocked ? tables.badge(_('blocked'), 'error') : _('no') ],
		[ _('Rule'), E('span', {}, (alert.rules ?? []).flatMap(rule => [ tables.wire([ rule.rule, rule.place ].filter(Boolean).join(' · '), 120), E('br') ])) ]
	].flatMap(([ label, value ]) => [ E('dt', {}, [ label ]), E('dd', {}, [ value ]) ])),
	E('p', {}, [ link(_('All that was correlated about it'), 'admin/secubox/dpi-dual/timeline', { ip: alert.client_ip }) ])
]));

const create = options => {
	const writes = dpi.may_write();
	const field = (label, input) => E('label', { 'class': 'dpi-field' }, [ E('span', {}, [ label ]), input ]);
	const ip = E('input', {
		'type': 'text', 'class': 'cbi-input-text', 'name': 'ip', 'required': '', 'maxlength': '64', 'autocomplete': 'off', 'spellcheck': 'false',
		'placeholder': '203.0.113.9'
	});
	const type = E('select', { 'class': 'cbi-input-select', 'name': 'event_type' },
		Object.keys(TYPES).map(name => E('option', { 'value': name }, [ TYPES[name] ])));
	const reason = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'name': 'reason', 'maxlength': '200', 'placeholder': _('why, in a few words') });
	const result = E('div', { 'class': 'dpi-result', 'role': 'status' });
	const buttons = [];

	const busy = promise => {
		buttons.forEach(button => { button.disabled = true; });
		return promise.finally(() => buttons.forEach(button => { button.disabled = false; }));
	};
	const show = (...nodes) => result.replaceChildren(...nodes);
	const sorry = answer => show(tables.notice('error', String(answer.error)));

	const look = async () => {
		const wanted = ip.value.trim();
		if (!ip.reportValidity())
			return;
		if (REFERENCE.test(wanted.toLowerCase())) {
			const found = await busy(dpi.status.alerts({ id: wanted.toLowerCase(), limit: 5 }));
			return dpi.failed(found) ? sorry(found) : found.alerts.length ? show(...told(found.alerts))
				: show(E('p', { 'class': 'dpi-quiet' }, [ _('No alert has this reference number; the newest thousand are kept.') ]));
		}
		const answer = await busy(dpi.correlator.context({ ip: wanted }));
		dpi.failed(answer) ? sorry(answer) : show(known(wanted, answer));
	};

	const record = async () => {
		const wanted = ip.value.trim();
		if (!ip.reportValidity())
			return;
		const event = tables.event(type.value);
		if (!await dpi.confirm(_('Record this by hand?'), [
			_('%s of').format(event), ' ', tables.wire(wanted, 64), '. ',
			_('This counts against the address like an event that was seen, and may lead to a ban when automatic bans are on.')
		], _('Record')))
			return;
		const answer = await busy(dpi.correlator.correlate({ ip: wanted, event_type: type.value, reason: reason.value.trim() || undefined }));
		if (dpi.failed(answer))
			return sorry(answer);
		const threat = answer.threat, context = threat.context ?? {};
		const joined = _('%s flows, %s requests and %s alerts were found for it.').format(
			...[ context.dpi_flows, context.mitm_requests, context.waf_alerts ].map(list => tables.count(list?.length ?? 0)));
		const done = tables.notice('ok', _('Recorded as threat %s.').format(tables.count(threat.id)), [
			E('p', {}, [ _('Its reputation went from %s to %s.').format(tables.decimal(threat.reputation_before ?? 0), tables.decimal(threat.reputation_score)), ' ', joined ]),
			E('p', {}, [ link(_('Show it in the timeline'), 'admin/secubox/dpi-dual/timeline', { ip: wanted }) ])
		]);
		const after = await dpi.correlator.context({ ip: wanted });
		show(done, dpi.failed(after) ? '' : known(wanted, after));
		options.done?.();
	};

	const button = (label, kind, click) => {
		buttons.push(E('button', { 'type': 'button', 'class': `btn cbi-button ${kind}`, 'click': click }, [ label ]));
		return buttons[buttons.length - 1];
	};
	const form = E('form', { 'class': 'dpi-form', 'submit': ev => { ev.preventDefault(); look(); } }, [
		field(_('Address or reference number'), ip), button(_('Look up'), 'cbi-button-action', look),
		...(writes ? [ field(_('What it did'), type), field(_('Reason'), reason), button(_('Record and correlate'), 'cbi-button-neutral', record) ] : [])
	]);

	return { node: E('div', {}, [ form, result ]) };
};

return baseclass.extend({ create: create });
