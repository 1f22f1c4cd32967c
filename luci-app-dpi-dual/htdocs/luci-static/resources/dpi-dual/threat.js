'use strict';
'require baseclass';
'require dpi-dual.actions as actions';
'require dpi-dual.charts as charts';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/*
 * One event of the Timeline as a card: what happened in a few lines; opened, all that is known about its address.
 *
 *   create(record, { opened(id, on), changed(), only(ip) }) -> { node, update(record), open(), close(), is_open(), record() }
 *     opened    the card was opened or closed by its reader; changed: an action changed something
 *     only      show only the events of this address
 */

const STATES = {
	new: [ _('open'), 'warning' ],
	acknowledged: [ _('acknowledged'), '' ],
	muted: [ _('muted'), '' ],
	crowdsec_ban: [ _('banned'), 'error' ]
};
const CROWDSEC = {
	queued: [ _('ban asked for'), 'info' ],
	banned: [ _('banned by CrowdSec'), 'error' ],
	alerted: [ _('told to CrowdSec'), '' ],
	failed: [ _('CrowdSec did not take it'), 'warning' ],
	whitelisted: [ _('whitelisted'), 'ok' ],
	unbanned: [ _('ban lifted'), '' ]
};
const CONNECTION = {
	connected: _('CrowdSec is connected.'),
	connecting: _('The connection to CrowdSec is being made.'),
	not_set_up: _('CrowdSec is not set up: run “dpi-dualctl crowdsec setup” on the router.'),
	unreachable: _('CrowdSec does not answer; what is asked of it waits.'),
	refused: _('CrowdSec refuses the login; run “dpi-dualctl crowdsec setup” on the router.'),
	unsupported: _('The address of CrowdSec cannot be used.'),
	off: _('CrowdSec is not followed while correlation is switched off.')
};

const label = (known, id) => known ? tables.badge(...known) : tables.badge(String(id));

const when = at => E('time', { 'datetime': new Date(at * 1000).toISOString(), 'title': tables.time(at) }, [ tables.age(at) ]);

const request = row => E('span', { 'class': 'dpi-request' }, [ row.method || '', ' ', tables.wire(`${row.host ?? ''}${row.path ?? ''}`, 90) ]);

const end = (ip, port) => port ? (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`) : ip;

const request_columns = [
	{ key: 'at', title: _('Time'), cell: row => when(row.at) },
	{ key: 'path', title: _('Request'), wide: true, value: row => `${row.host}${row.path}`, cell: request },
	{ key: 'status', title: _('Status'), number: true, cell: row => row.blocked ? tables.badge(_('blocked'), 'error') : row.status ? String(row.status) : '–' },
	{ key: 'threat_score', title: _('Score'), number: true, cell: row => row.threat_score ? tables.score(row.threat_score) : '–' }
];

const alert_columns = [
	{ key: 'at', title: _('Time'), cell: row => when(row.at) },
	{ key: 'rule', title: _('Rule'), cell: row => E('span', {}, [ tables.wire(row.rule || '–', 50), row.place ? E('span', { 'class': 'dpi-under' }, [ tables.wire(row.place, 60) ]) : '' ]) },
	{ key: 'path', title: _('Request'), wide: true, value: row => `${row.host}${row.path}`, cell: request },
	{ key: 'categories', title: _('Category'), extra: true, value: row => (row.categories ?? []).join(' '), cell: row => tables.wire((row.categories ?? []).join(', ') || '–', 40) },
	{ key: 'threat_score', title: _('Score'), number: true, cell: row => tables.score(row.threat_score) },
	{ key: 'blocked', title: _('Blocked'), extra: true, cell: row => row.blocked ? tables.badge(_('blocked'), 'error') : _('no') }
];

const flow_columns = [
	{ key: 'first_seen_at', title: _('Time'), cell: row => when(row.first_seen_at) },
	{ key: 'ends', title: _('From → to'), wide: true, value: row => row.other_ip, cell: row => {
		const local = end(row.local_ip, row.local_port), other = end(row.other_ip, row.other_port);
		return E('span', {}, [
			row.local_origin ? `${local} → ${other}` : `${other} → ${local}`,
			row.hostname ? E('span', { 'class': 'dpi-under' }, [ tables.wire(row.hostname, 60) ]) : ''
		]);
	} },
	{ key: 'protocol', title: _('Protocol'), cell: row => tables.wire([ row.transport, row.protocol, row.application == 'Unknown' ? '' : row.application ].filter(Boolean).join(' · '), 50) },
	{ key: 'risks', title: _('Risks'), value: row => (row.risks ?? []).length, cell: row => (row.risks ?? []).length ? tables.badge(_('%s: %s').format(row.risk_namespace, row.risks.join(', ')), 'warning') : '–' },
	{ key: 'total_bytes', title: _('Bytes'), number: true, cell: row => tables.bytes(row.total_bytes) }
];

const event_columns = [
	{ key: 'last_at', title: _('Time'), cell: row => when(row.last_at) },
	{ key: 'event_type', title: _('Event'), value: row => tables.event(row.event_type), cell: row => tables.wire(tables.event(row.event_type), 40) },
	{ key: 'reason', title: _('Reason'), wide: true, cell: row => tables.wire(row.reason, 100) },
	{ key: 'count', title: _('Times'), number: true, cell: row => tables.count(row.count) },
	{ key: 'state', title: _('State'), cell: row => label(STATES[row.state], row.state) },
	{ key: 'threat_score', title: _('Score'), number: true, cell: row => tables.score(row.threat_score) }
];

/* What the record kept, and what is known now, each once. */
const merged = (now, then, id) => [ ...new Map([ ...(then ?? []), ...(now ?? []) ].map(row => [ id(row), row ])).values() ];

const flow_id = row => [ row.transport, ...[ end(row.local_ip, row.local_port), end(row.other_ip, row.other_port) ].sort(), row.first_seen_at ].join(' ');

/* A list below a heading that says how many; closed while it is empty. */
const listed = (title, columns, id, none) => {
	const count = E('span', { 'class': 'dpi-quiet' });
	const table = tables.create({ caption: title, columns: columns, id: id, page: 10, sort: { key: columns[0].key, descending: true } });
	const blank = E('p', { 'class': 'dpi-quiet' }, [ none ]);
	return {
		node: E('section', { 'class': 'dpi-block' }, [ E('h4', {}, [ title, ' ', count ]), table.node, blank ]),
		update: (rows, total) => {
			count.textContent = `(${tables.count(total ?? rows.length)})`;
			table.node.hidden = rows.length == 0;
			blank.hidden = rows.length > 0;
			table.update(rows);
		}
	};
};

const details = (card, hooks) => {
	const result = E('div', { 'role': 'status', 'class': 'dpi-outcome' });
	const bar = E('div', { 'class': 'dpi-tools dpi-actions', 'role': 'group', 'aria-label': _('Actions') });
	const curve = charts.line({
		title: _('Reputation of this address'), height: 90,
		series: [ { name: _('Reputation'), format: value => tables.decimal(value, 0), kind: 'step' } ],
		empty: _('No reputation: nothing counted against this address lately.')
	});
	const standing = E('p', {});
	const crowdsec = E('dl', { 'class': 'dpi-figures' });
	const requests = listed(_('Requests'), request_columns, row => row.id, _('No request of this address is in the buffer.'));
	const flows = listed(_('Flows'), flow_columns, flow_id, _('No flow of this address is known.'));
	const alerts = listed(_('WAF alerts'), alert_columns, row => row.id, _('No rule of the WAF has fired for this address.'));
	const events = listed(_('Other events of this address'), event_columns, row => String(row.id), _('Nothing else.'));
	const trouble = E('div', { 'role': 'alert' });
	const known = E('div', { 'hidden': '' }, [
		bar,
		E('div', { 'class': 'dpi-cards dpi-pair' }, [
			E('section', { 'class': 'dpi-card' }, [ E('h4', {}, [ _('Reputation') ]), standing, curve.node ]),
			E('section', { 'class': 'dpi-card' }, [ E('h4', {}, [ _('CrowdSec') ]), crowdsec ])
		]),
		requests.node, alerts.node, flows.node, events.node
	]);
	const waiting = E('p', { 'class': 'dpi-quiet' }, [ _('Loading…') ]);
	const links = E('p', { 'class': 'dpi-quiet' });

	const happened = async (text, kind) => {
		result.replaceChildren(tables.notice(kind, text));
		hooks.changed();
		await load();
	};

	const load = async () => {
		const record = card.record();
		const subject = record.kind == 'client' ? record.actor : record.ip;
		let answer = await dpi.correlator.context({ ip: subject, id: record.id });
		if (answer.code == 'not_found')  // only the newest records are kept; the address is still known
			answer = await dpi.correlator.context({ ip: subject });
		waiting.hidden = true;
		const failed = dpi.failed(answer);
		trouble.replaceChildren(...(failed ? [ tables.notice('error', _('The context could not be loaded.'), [
			E('p', {}, [ String(answer.error), ' ', E('code', {}, [ String(answer.code) ]) ])
		]) ] : []));
		if (failed)
			return;
		if (answer.record)
			card.update(answer.record);
		show(card.record(), answer);
		known.hidden = false;
	};

	const show = (record, context) => {
		const then = record.context ?? context.record?.context ?? {};
		if (dpi.may_write()) {
			// The button that was pressed may be gone now; the one after it, or the card, takes the focus.
			const focused = bar.contains(document.activeElement) ? document.activeElement.dataset.action : null;
			bar.replaceChildren(...actions.offered(record, context, happened));
			if (focused)
				(bar.querySelector(`[data-action="${focused}"]`) ?? bar.querySelector('button') ?? card.button).focus({ preventScroll: true });
		}
		bar.hidden = bar.childElementCount == 0;
		const score = context.reputation.score;
		standing.replaceChildren(E('strong', { 'data-figure': 'reputation' }, [ tables.decimal(score) ]), ' ', _('of 100'), ' · ',
			N_(context.reputation.events, '%s event', '%s events').format(tables.count(context.reputation.events)));
		const points = [];
		for (const threat of [ ...(context.threats ?? []) ].sort((a, b) => a.first_at - b.first_at)) {
			points.push([ threat.first_at, threat.reputation_before ], [ Math.max(threat.last_at, threat.first_at + 0.001), threat.reputation_score ]);
		}
		if (points.length)
			points.push([ tables.now(), score ]);
		curve.update({ points: points.sort((a, b) => a[0] - b[0]), max: [ 100 ] });
		const rows = [];
		if (context.crowdsec.banned)
			rows.push([ _('Banned'), context.crowdsec.target ], [ _('Until'), actions.until(context.crowdsec.until_at) ],
				[ _('Because of'), tables.wire(context.crowdsec.scenario || '–', 80) ], [ _('Decided by'), tables.wire(context.crowdsec.origin || '–', 40) ]);
		else
			rows.push([ _('Banned'), _('no') ]);
		rows.push([ _('About this event'), record.crowdsec_status == 'none' ? _('nothing asked') : label(CROWDSEC[record.crowdsec_status], record.crowdsec_status) ]);
		if (context.reputation.whitelisted)
			rows.push([ _('Whitelist'), context.reputation.whitelisted ]);
		rows.push([ _('Connection'), CONNECTION[context.crowdsec.state] ?? String(context.crowdsec.state) ]);
		crowdsec.replaceChildren(...rows.flatMap(([ name, value ]) => [ E('dt', {}, [ name ]), E('dd', {}, [ value ]) ]));
		requests.update(merged(context.mitm_requests, then.mitm_requests, row => row.id));
		alerts.update(merged(context.waf_alerts, then.waf_alerts, row => row.id).map(row => ({ ...row, at: row.at ?? tables.unix(row.timestamp) })));
		flows.update(merged(context.dpi_flows, then.dpi_flows, flow_id));
		const others = (context.threats ?? []).filter(row => row.id != record.id);
		events.update(others, Math.max(others.length, (context.threats_total ?? 1) - 1));
		links.replaceChildren(
			E('button', { 'type': 'button', 'class': 'dpi-open', 'click': () => hooks.only(record.kind == 'client' ? record.actor : record.ip) }, [ _('Only the events of this address') ]),
			...(record.kind == 'client' ? [ ' · ', E('a', { 'href': place.link('admin/secubox/dpi-dual/lan', { client: record.actor }) }, [ _('This client in LAN Flows') ]) ] : []),
			' · ', E('button', { 'type': 'button', 'class': 'dpi-open', 'data-reload': '', 'click': () => load() }, [ _('Load again') ])
		);
	};

	return { node: E('div', {}, [ result, waiting, trouble, known, links ]), load: load };
};

const create = (first, hooks) => {
	let record = first, drawn = '', more = null;
	const id = `dpi-event-${first.id}`;
	const title = E('span', {});
	const button = E('button', { 'type': 'button', 'class': 'dpi-disclose', 'aria-expanded': 'false', 'aria-controls': `${id}-more`, 'click': () => toggle() }, [ title ]);
	const marks = E('span', { 'class': 'dpi-marks' });
	const time = E('span', { 'class': 'dpi-moment' });
	const why = E('p', { 'class': 'dpi-reason' });
	const facts = E('p', { 'class': 'dpi-quiet dpi-facts' });
	const body = E('div', { 'id': `${id}-more`, 'class': 'dpi-more', 'hidden': '' });
	const node = E('li', { 'class': 'dpi-event', 'data-id': String(first.id), 'id': id }, [
		E('div', { 'class': 'dpi-event-head' }, [ E('h3', {}, [ button ]), marks, time ]), why, facts, body
	]);

	const card = {
		node: node,
		button: button,
		record: () => record,
		is_open: () => !body.hidden,
		update: next => {
			record = { ...record, ...next };
			const seen = JSON.stringify([ record.count, record.state, record.crowdsec_status, record.threat_score, record.reputation_score, record.last_at ]);
			if (seen != drawn) {
				drawn = seen;
				draw();
			}
			age();
		},
		age: () => age(),
		open: () => toggle(true),
		close: () => toggle(false)
	};

	const age = () => {
		const text = tables.age(record.last_at);
		if (time.textContent != text)
			time.replaceChildren(when(record.last_at));
	};

	const draw = () => {
		node.dataset.severity = record.severity;
		node.dataset.state = record.state;
		const who = record.hostname ? tables.wire(record.hostname, 40) : record.ip;
		title.replaceChildren(tables.wire(tables.event(record.event_type), 40), ' · ', who, record.hostname ? ` (${record.ip})` : '');
		marks.replaceChildren(...[
			tables.score(record.threat_score), label(STATES[record.state], record.state),
			record.crowdsec_status != 'none' && record.state != 'crowdsec_ban' ? label(CROWDSEC[record.crowdsec_status], record.crowdsec_status) : null,
			record.kind == 'client' ? tables.badge(_('LAN client'), 'info') : null,
			record.count > 1 ? tables.badge(_('%s times').format(tables.count(record.count))) : null
		].filter(Boolean));
		why.replaceChildren(tables.wire(record.reason, 300));
		const rest = [
			(record.host || record.path) && !record.reason.includes(record.path) ? request(record) : null,
			record.rule && record.rule != record.reason ? E('span', {}, [ _('rule'), ' ', tables.wire(record.rule, 60) ]) : null,
			_('reputation %s → %s').format(tables.decimal(record.reputation_before, 0), tables.decimal(record.reputation_score, 0))
		].filter(Boolean);
		facts.replaceChildren(...rest.flatMap((part, i) => i ? [ ' · ', part ] : [ part ]));
	};

	const toggle = (on = body.hidden) => {
		if (on == !body.hidden)
			return;
		body.hidden = !on;
		button.setAttribute('aria-expanded', String(on));
		node.classList.toggle('dpi-unfolded', on);
		if (on) {
			more = details(card, hooks);
			body.replaceChildren(more.node);
			more.load();
		}
		else {
			more = null;
			body.replaceChildren();
		}
		hooks.opened(record.id, on);
	};

	card.update(first);
	return card;
};

return baseclass.extend({ create: create });
