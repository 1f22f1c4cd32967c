'use strict';
'require baseclass';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.streams as streams';
'require dpi-dual.tables as tables';

/* The suite on the front status page: a line a stream, the newest threat, and what is wrong. Without access to it: nothing. */

const PATH = 'admin/secubox/dpi-dual';
const LINES = {
	mitm: [ _('MITM'), answer => _('%s requests, %s threats').format(tables.count(answer.mitm.requests_total), tables.count(answer.mitm.threats_detected)) ],
	tap: [ _('TAP'), answer => _('%s flows in the last minute').format(tables.count(answer.tap.flows_1min)) ],
	lan: [ _('LAN'), answer => N_(answer.lan.active_clients, '%s active client', '%s active clients').format(tables.count(answer.lan.active_clients)) ],
	correlation: [ _('Correlation'), answer => _('%s open threats, %s banned').format(tables.count(answer.correlation.open), tables.count(answer.correlation.banned)) ]
};

const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

const create = () => {
	const lines = Object.keys(LINES).map(name => ({ name: name, state: E('span', {}), figures: E('span', {}) }));
	const newest = E('span', {}), said = E('span', {});
	const row = (label, children) => E('tr', { 'class': 'tr' }, [
		E('td', { 'class': 'td left', 'width': '33%' }, [ label ]), E('td', { 'class': 'td left' }, children)
	]);
	return {
		node: E('div', { 'class': 'dpi-page dpi-mini' }, [ E('table', { 'class': 'table' }, [
			...lines.map(line => row(LINES[line.name][0], [ line.state, ' ', line.figures ])),
			row(_('Newest threat'), [ newest ]),
			row(_('Health'), [ said, ' ', E('a', { 'href': L.url(`${PATH}/overview`) }, [ _('Open the overview') ]) ])
		]) ]),
		update: answer => {
			tables.clock(answer.now_at);
			for (const line of lines) {
				const state = answer[line.name].state;
				if (line.state.dataset.state != state) {
					line.state.dataset.state = state;
					line.state.replaceChildren(streams.badge(state));
				}
				write(line.figures, state == 'off' ? '' : LINES[line.name][1](answer));
			}
			const grave = answer.problems.filter(problem => problem.severity != 'info' && problem.code != 'engine_down');
			write(said, answer.engine == 'down' && !answer.enabled ? _('DPI Dual-Stream is switched off in Settings.')
				: answer.engine == 'down' ? answer.snapshot_at ? _('The engine does not run; these figures are of %s.').format(tables.time(answer.snapshot_at)) : _('The engine does not run.')
				: grave.length ? N_(grave.length, '%d problem needs attention.', '%d problems need attention.').format(grave.length) : _('All is well.'));
			const threat = answer.threats[0];
			const key = threat ? `${threat.id} ${threat.threat_score} ${threat.ip}` : '-';
			if (newest.dataset.key != key) {
				newest.dataset.key = key;
				newest.replaceChildren(...(threat ? [ tables.score(threat.threat_score), ` ${tables.event(threat.event_type)}, `,
					E('a', { 'href': place.link(`${PATH}/timeline`, { ip: threat.ip }) }, [ tables.wire(threat.ip, 48) ]) ] : [ _('none yet') ]));
			}
		}
	};
};

return baseclass.extend({
	title: _('DPI Dual-Stream'),

	load: () => dpi.status.overview(),

	/* LuCI exchanges the content by what is returned here; nothing is returned while it only changes in place. */
	render: function(answer) {
		if (!answer || dpi.failed(answer))
			return this.card?.node.isConnected ? null : undefined;
		this.card ??= create();
		this.card.update(answer);
		return this.card.node.isConnected ? null : this.card.node;
	}
});
