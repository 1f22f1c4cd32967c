'use strict';
'require baseclass';
'require dpi-dual.dialog as dialog';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/*
 * What a person can do about an address: each asks first, and says in words what the router and CrowdSec made of it.
 *
 *   offered(record, context, happened) -> [ Node, … ]: the buttons, and why one is not there
 *     record      a threat; context: the answer of dpi.correlator context about its address
 *     happened(text, kind)   is told what came of it ('ok' or 'warning')
 */

const DURATIONS = [
	[ '30m', _('30 minutes') ], [ '1h', _('1 hour') ], [ '4h', _('4 hours') ], [ '1d', _('1 day') ], [ '7d', _('7 days') ],
	[ '30d', _('30 days') ], [ '365d', _('1 year') ]
];
const MUTES = [ [ '1h', _('1 hour') ], [ '1d', _('1 day') ], [ '7d', _('7 days') ], [ '30d', _('30 days') ], [ '', _('until it is ended') ] ];

const until = at => new Date(at * 1000).toLocaleString(document.documentElement.lang || []);
const rule_of = record => record.rule || record.event_type;

const ban = (record, happened) => dialog.ask({
	title: _('Ban an address'),
	text: [
		_('CrowdSec is asked to ban %s. Its bouncers (the firewall’s, for one) then refuse it.').format(record.ip),
		...(record.ip.includes(':') ? [ _('Of an IPv6 address the whole /64 is banned: one device has many of them.') ] : [])
	],
	fields: [
		{ name: 'duration', label: _('For how long'), input: dialog.select(DURATIONS, '4h') },
		{ name: 'reason', label: _('Reason'), input: E('input', { 'type': 'text', 'class': 'cbi-input-text', 'maxlength': '200', 'value': tables.event(record.event_type) }) }
	],
	action: _('Ban'), grave: true,
	run: values => dpi.correlator.ban({ ip: record.ip, duration: values.duration, ...(values.reason ? { reason: values.reason } : {}) }),
	done: answer => happened(_('CrowdSec holds the ban: decision %s, %s until %s.').format(answer.id, answer.target, until(answer.until_at)), 'ok')
});

const unban = (record, context, happened) => {
	const target = context.crowdsec?.target || record.ip;
	dialog.ask({
		title: _('Lift the ban'),
		text: [ _('Every decision that CrowdSec holds about %s is deleted.').format(target) ],
		action: _('Lift the ban'),
		run: () => dpi.correlator.unban({ ip: target }),
		done: answer => answer.removed > 0
			? happened(N_(answer.removed, 'CrowdSec deleted %d decision about %s.', 'CrowdSec deleted %d decisions about %s.').format(answer.removed, answer.target), 'ok')
			: happened(_('CrowdSec held no decision about %s.').format(answer.target), 'warning')
	});
};

const whitelist = (record, happened) => dialog.ask({
	title: _('Never ban this address'),
	text: [ _('The address or network is put on the whitelist in /etc/config/dpi-dual, and a ban of it is lifted. It is still watched.') ],
	fields: [ { name: 'ip', label: _('Address or network'), hint: _('for example %s').format('198.51.100.0/24'),
		input: E('input', { 'type': 'text', 'class': 'cbi-input-text', 'maxlength': '64', 'value': record.ip, 'required': '' }) } ],
	action: _('Put on the whitelist'),
	run: values => dpi.correlator.whitelist_add({ ip: values.ip }),
	done: answer => answer.warning
		? happened(_('%s is on the whitelist, but: %s').format(answer.ip, answer.warning), 'warning')
		: happened(answer.unbanned ? _('%s is on the whitelist; its ban was lifted.').format(answer.ip) : _('%s is on the whitelist.').format(answer.ip), 'ok')
});

const unlist = (entry, happened) => dialog.ask({
	title: _('Take off the whitelist'),
	text: [ _('%s may then be banned again.').format(entry) ],
	action: _('Take off'),
	run: () => dpi.correlator.whitelist_remove({ ip: entry }),
	done: answer => happened(_('%s is not on the whitelist any more.').format(answer.ip), 'ok')
});

const reset = (record, context, happened) => dialog.ask({
	title: _('Forget the reputation'),
	text: [ _('The reputation of %s is %s of 100. It begins again at 0; the events stay.').format(context.reputation.actor, tables.decimal(context.reputation.score)) ],
	action: _('Forget it'),
	run: () => dpi.correlator.reset_reputation({ ip: record.kind == 'client' ? record.actor : record.ip }),
	done: answer => happened(answer.known ? _('The reputation of %s is forgotten.').format(answer.actor) : _('%s had no reputation.').format(answer.actor), answer.known ? 'ok' : 'warning')
});

const acknowledge = (record, happened) => dialog.ask({
	title: _('Acknowledge'),
	text: [ _('Says that somebody has seen to it: it does not count as open any more.') ],
	fields: [ { name: 'what', label: _('What'), input: dialog.select([
		[ 'one', _('this event') ], [ 'all', _('all open events of this address') ]
	], 'one') } ],
	action: _('Acknowledge'),
	run: values => dpi.correlator.acknowledge(values.what == 'one' ? { id: record.id } : { ip: record.kind == 'client' ? record.actor : record.ip }),
	done: answer => happened(N_(answer.changed, '%d event is acknowledged.', '%d events are acknowledged.').format(answer.changed), answer.changed ? 'ok' : 'warning')
});

const mute = (record, happened) => dialog.ask({
	title: _('Mute'),
	text: [ _('Events of the rule %s are still recorded, but nobody is notified of them any more.').format(rule_of(record)) ],
	fields: [
		{ name: 'who', label: _('From'), input: dialog.select([ [ 'source', _('this address') ], [ 'any', _('anybody') ] ], 'source') },
		{ name: 'duration', label: _('For how long'), input: dialog.select(MUTES, '7d') }
	],
	action: _('Mute'),
	run: values => dpi.correlator.acknowledge({
		...(values.who == 'source' ? { id: record.id } : { rule: rule_of(record) }),
		mute: true, ...(values.duration ? { duration: values.duration } : {})
	}),
	done: answer => happened(answer.source ? _('%s from %s is muted.').format(answer.rule, answer.source) : _('%s is muted, whoever it comes from.').format(answer.rule), 'ok')
});

const unmute = (entry, happened) => dialog.ask({
	title: _('End the mute'),
	text: [ _('%s from %s is told of again.').format(entry.rule || _('everything'), entry.source || _('anybody')) ],
	action: _('End the mute'),
	run: () => dpi.correlator.acknowledge({ remove: true, ...(entry.rule ? { rule: entry.rule } : {}), ...(entry.source ? { ip: entry.source } : {}) }),
	done: () => happened(_('The mute is ended.'), 'ok')
});

const offered = (record, context, happened) => {
	const standing = context.reputation ?? {};
	const button = (name, text, click, kind = '') => E('button', {
		'type': 'button', 'class': `btn cbi-button ${kind}`, 'data-action': name, 'click': click
	}, [ text ]);
	const banned = context.crowdsec?.banned === true;
	const nodes = [];
	if (!standing.never_banned && !banned)
		nodes.push(button('ban', _('Ban…'), () => ban(record, happened), 'cbi-button-negative'));
	if (banned)
		nodes.push(button('unban', _('Lift the ban…'), () => unban(record, context, happened)));
	if (record.kind == 'remote' && !standing.whitelisted)
		nodes.push(button('whitelist', _('Never ban…'), () => whitelist(record, happened)));
	if (standing.whitelisted)
		nodes.push(button('unlist', _('Take off the whitelist…'), () => unlist(standing.whitelisted, happened)));
	if (standing.score > 0)
		nodes.push(button('reset', _('Forget the reputation…'), () => reset(record, context, happened)));
	if (record.state == 'new')
		nodes.push(button('acknowledge', _('Acknowledge…'), () => acknowledge(record, happened)));
	const ended = (context.mutes ?? []).find(entry => !entry.rule || entry.rule == rule_of(record));
	nodes.push(ended ? button('unmute', _('End the mute…'), () => unmute(ended, happened)) : button('mute', _('Mute…'), () => mute(record, happened)));
	if (standing.never_banned)
		nodes.push(E('span', { 'class': 'dpi-quiet', 'data-why': '' }, [ _('A ban is not offered: %s.').format(standing.never_banned) ]));
	return nodes;
};

return baseclass.extend({ offered: offered, until: until });
