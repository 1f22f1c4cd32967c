'use strict';
'require baseclass';
'require dpi-dual.charts as charts';
'require dpi-dual.download as download';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/*
 * One client of the LAN: who it is, how much and with whom it talks, and its history.
 *
 *   create({ close(), period(name), destinations(client) }) -> { node, heading, update(answer of dpi.lan client) }
 *   history({ title, period(name) }) -> { node, update(answer of dpi.lan history) }: a chart and its choice of steps
 *   shares(title, name) -> { node, update(rows, key) }: bars of the ten largest
 *   destination_columns, destination_id: how destinations are shown everywhere
 */

const PERIODS = {
	hour: { title: _('Hours'), step_s: 3600 },
	day: { title: _('Days'), step_s: 86400 },
	week: { title: _('Weeks'), step_s: 604800 },
	month: { title: _('Months'), step_s: 2592000 }
};

const FEWEST = 12;

const when = at => E('span', { 'title': tables.time(at) }, [ tables.age(at) ]);

/* An application, or the protocol of what has none. */
const kind = row => row.application && row.application != 'Unknown' ? row.application : row.protocol;

const endpoint = (ip, port) => port ? (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`) : ip;

const destination_columns = [
	{ key: 'hostname', title: _('Destination'), wide: true, value: row => row.hostname || row.ip, cell: row => E('span', {}, [
		tables.wire(row.hostname || row.ip, 60),
		row.hostname ? E('span', { 'class': 'dpi-under' }, [ row.ip ]) : ''
	]) },
	{ key: 'port', title: _('Port'), number: true, value: row => row.inbound ? -1 : row.port,
		cell: row => row.inbound ? tables.badge(_('inbound')) : `${row.port ? row.port + '/' : ''}${row.proto}` },
	{ key: 'application', title: _('Application'), value: kind, cell: row => tables.wire(kind(row), 40) },
	{ key: 'bytes', title: _('Bytes'), number: true, cell: row => tables.bytes(row.bytes) },
	{ key: 'hits', title: _('Flows'), number: true, cell: row => tables.count(row.hits) },
	{ key: 'last_seen_at', title: _('Last seen'), number: true, cell: row => when(row.last_seen_at) }
];

/* The end that is not this client: where the router itself answers, an agent takes the router's side for the local one. */
const seen_from = (mine, flow) => ({
	...flow,
	far: mine.includes(flow.other_ip) && !mine.includes(flow.local_ip)
		? { ip: flow.local_ip, port: flow.local_port, name: '' }
		: { ip: flow.other_ip, port: flow.other_port, name: flow.other_name }
});

/* A name may be what was asked about or asked for, and not the other end's own. */
const other_end = flow => {
	const far = flow.far, asked = !far.name && flow.hostname;
	return E('span', {}, [
		tables.wire(far.name || far.ip, 60),
		E('span', { 'class': 'dpi-under' }, [
			`${flow.transport} ${endpoint(far.ip, far.port)}`,
			asked ? ' · ' : '', asked ? tables.wire(asked, 60) : ''
		])
	]);
};

const flow_columns = [
	{ key: 'other', title: _('Other end'), wide: true, value: flow => flow.far.name || flow.far.ip, cell: other_end },
	{ key: 'application', title: _('Application'), value: kind, cell: flow => E('span', {}, [
		tables.wire(kind(flow), 40), flow.guessed ? ' ' : '', flow.guessed ? tables.badge(_('guessed')) : ''
	]) },
	{ key: 'total_bytes', title: _('Bytes'), number: true, cell: flow => tables.bytes(flow.total_bytes) },
	{ key: 'state', title: _('State'), cell: flow => flow.state == 'live' ? tables.badge(_('live'), 'ok') : tables.badge(_('finished')) },
	{ key: 'last_seen_at', title: _('Last seen'), number: true, cell: flow => when(flow.last_seen_at) }
];

const flow_id = flow => [ flow.interface, flow.transport, flow.local_ip, flow.local_port, flow.other_ip, flow.other_port, flow.first_seen_at ].join(' ');
const destination_id = row => [ row.ip, row.port, row.proto ].join(' ');

const history = options => {
	const curve = charts.line({
		title: options.title,
		height: 150,
		series: [
			{ name: _('Received'), format: tables.bytes, binary: true, kind: 'column' },
			{ name: _('Sent'), format: tables.bytes, binary: true, kind: 'column' }
		],
		empty: _('Nothing has been counted yet: the first figures come within a minute.')
	});
	const buttons = Object.keys(PERIODS).map(name => E('button', {
		'type': 'button', 'class': 'btn cbi-button', 'data-period': name, 'aria-pressed': 'false', 'click': () => options.period(name)
	}, [ PERIODS[name].title ]));
	const sum = E('span', { 'class': 'dpi-quiet' });
	return {
		node: E('div', {}, [
			E('div', { 'class': 'dpi-tools', 'role': 'group', 'aria-label': _('Step of the history') }, [ ...buttons, sum ]),
			curve.node
		]),
		update: answer => {
			buttons.forEach(button => {
				const pressed = button.dataset.period == answer.period;
				button.setAttribute('aria-pressed', String(pressed));
				button.classList.toggle('cbi-button-action', pressed);
			});
			const points = answer.points ?? [];
			const unsplit = points.reduce((total, point) => total + point.bytes_unsplit, 0);
			sum.textContent = points.length == 0 ? '' : unsplit
				? _('%s in all, %s of it in a direction that nobody told').format(tables.bytes(answer.bytes), tables.bytes(unsplit))
				: _('%s in all').format(tables.bytes(answer.bytes));
			const step_s = PERIODS[answer.period]?.step_s ?? 3600;
			const last = points[points.length - 1];
			const until = last ? last.start_at + last.seconds : tables.now();
			curve.update({
				points: points.map(point => [ point.start_at, point.bytes_in, point.bytes_out ]),
				interval_s: step_s, until: until,
				// A few columns do not fill the whole width.
				since: Math.min(points[0]?.start_at ?? until, until - FEWEST * step_s)
			});
		}
	};
};

const shares = (title, name) => {
	const chart = charts.bars({ title: title, format: tables.bytes, name_title: name, value_title: _('Bytes'), empty: _('Nothing yet.') });
	return {
		node: E('section', { 'class': 'dpi-card' }, [ E('h4', {}, [ title ]), chart.node ]),
		update: (rows, key) => chart.update(rows.slice(0, 10).map(row => ({
			name: row[key] || '–', value: row.bytes, note: N_(row.flows, '%s flow', '%s flows').format(tables.count(row.flows)),
			...(row.open ? { open: row.open } : {})
		})))
	};
};

const create = options => {
	const heading = E('h3', { 'tabindex': '-1', 'class': 'dpi-name' });
	const facts = E('dl', { 'class': 'dpi-strip' });
	const who = E('p', { 'class': 'dpi-quiet' });
	const past = history({ title: _('Bytes of this client'), period: options.period });
	const applications = shares(_('Applications'), _('Application'));
	const protocols = shares(_('Protocols'), _('Protocol'));
	let shown = null;

	const destinations = tables.create({
		caption: _('Destinations of this client'), columns: destination_columns, id: destination_id, page: 10,
		empty: tables.empty(_('No destination yet.'), _('Addresses outside the LAN appear here. Of one that very many clients talk to, only the first ones are remembered.'))
	});
	const all = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'click': () => options.destinations(shown) });
	const flows = tables.create({
		caption: _('Newest flows of this client'), columns: flow_columns, id: flow_id, page: 10,
		tools: [ download.buttons({
			name: 'dpi-flows', label: _('flows of this client'), key: 'flows', id: flow_id,
			columns: [ 'interface', 'transport', 'local_ip', 'local_port', 'other_ip', 'other_port', 'protocol', 'application', 'hostname', 'total_bytes', 'first_seen_at', 'last_seen_at' ],
			page: params => all_flows(params), about: () => ({ client: shown })
		}) ],
		empty: tables.empty(_('No flow is remembered.'), _('Flows are kept for a while after they end.'))
	});
	const flows_title = E('h4', {});

	/* Flows are asked for by address; the mark of a page says whose turn it is. */
	let addresses = [];
	const all_flows = async params => {
		const [ which, before ] = (params.before ?? '0|').split('|');
		const list = addresses, turn = Number(which);
		if (turn >= list.length)
			return { flows: [], total: 0 };
		const answer = await dpi.lan.flows({ limit: params.limit, ip: list[turn], ...(before ? { before: before } : {}) });
		if (dpi.failed(answer))
			return answer;
		const next = answer.next ? `${turn}|${answer.next}` : turn + 1 < list.length ? `${turn + 1}|` : '';
		return { flows: answer.flows, total: answer.total, ...(next ? { next: next } : {}) };
	};

	const node = E('div', { 'class': 'dpi-client' }, [
		E('div', { 'class': 'dpi-tools' }, [
			E('button', { 'type': 'button', 'class': 'btn cbi-button', 'data-close': '', 'click': options.close }, [ '← ', _('All clients') ])
		]),
		heading, who, facts,
		E('section', { 'class': 'dpi-card dpi-block' }, [ E('h4', {}, [ _('History') ]), past.node ]),
		E('div', { 'class': 'dpi-cards dpi-pair' }, [ applications.node, protocols.node ]),
		E('section', { 'class': 'dpi-block' }, [ E('h4', {}, [ _('Destinations') ]), destinations.node, all ]),
		E('section', { 'class': 'dpi-block' }, [ flows_title, flows.node ])
	]);

	return {
		node: node,
		heading: heading,
		update: answer => {
			const client = answer.client;
			shown = client.mac || client.ip;
			addresses = client.ips ?? [ client.ip ];
			heading.replaceChildren(client.hostname ? tables.wire(client.hostname, 63) : client.mac || client.ip, ' ',
				client.active ? tables.badge(_('active'), 'ok') : tables.badge(_('idle')));
			who.replaceChildren(client.mac || _('MAC not known yet'),
				client.mac_random ? ' ' + _('(made up by the device, as phones do)') : '', ' · ', addresses.join(', '), ' · ', client.interface);
			facts.replaceChildren(...strip([
				[ 'rx_bps', _('Receiving'), tables.rate(client.rx_bps) ],
				[ 'tx_bps', _('Sending'), tables.rate(client.tx_bps) ],
				[ 'bytes_in', _('Received'), tables.bytes(client.bytes_in) ],
				[ 'bytes_out', _('Sent'), tables.bytes(client.bytes_out) ],
				[ 'bytes', _('Together'), tables.bytes(client.bytes) ],
				[ 'flows', _('Flows'), tables.count(client.flows) ],
				[ 'first_seen_at', _('First seen'), tables.age(client.first_seen_at) ],
				[ 'last_seen_at', _('Last seen'), tables.age(client.last_seen_at) ]
			]));
			past.update(answer.history);
			applications.update(answer.applications, 'application');
			protocols.update(answer.protocols, 'protocol');
			destinations.update(answer.destinations);
			all.hidden = answer.destinations_total <= answer.destinations.length;
			all.textContent = _('All %s destinations').format(tables.count(answer.destinations_total));
			flows_title.textContent = answer.flows_total > answer.flows.length
				? _('The newest %s of %s flows').format(tables.count(answer.flows.length), tables.count(answer.flows_total)) : _('Flows');
			flows.update(answer.flows.map(flow => seen_from(addresses, flow)));
		}
	};
};

/* [ name for programs, label, text or Node ] → terms and figures of a strip. */
const strip = rows => rows.map(([ name, label, text ]) => E('div', {}, [
	E('dt', {}, [ label ]), E('dd', { 'data-figure': name }, [ text ])
]));

return baseclass.extend({
	create: create, history: history, shares: shares, strip: strip, when: when,
	destination_columns: destination_columns, destination_id: destination_id
});
