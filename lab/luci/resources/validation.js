'use strict';
'require baseclass';

/*
 * Datatypes of form fields: expressions such as `and(uinteger, max(100))`, by LuCI's names.
 *
 * A type is a function (value, ...arguments) that returns null when the value is good, else what was expected.
 */

const bytes = text => new Blob([ text ]).size;
const integer = text => /^-?\d+$/.test(text) ? +text : NaN;
const decimal = text => /^-?\d+(?:\.\d+)?$/.test(text) ? +text : NaN;

function parseIPv4(text) {
	const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
	const parts = match?.slice(1).map(Number);
	return parts?.every(part => part <= 255) ? parts : null;
}

function parseIPv6(text) {
	let rest = text;
	const mapped = /^([a-fA-F0-9:]+):(\d+\.\d+\.\d+\.\d+)$/.exec(rest);
	if (mapped) {
		const v4 = parseIPv4(mapped[2]);
		if (!v4)
			return null;
		rest = `${mapped[1]}:${(v4[0] * 256 + v4[1]).toString(16)}:${(v4[2] * 256 + v4[3]).toString(16)}`;
	}
	const halves = rest.split('::');
	if (halves.length > 2 || !/^[a-fA-F0-9:]+$/.test(rest))
		return null;
	const words = halves.map(half => half === '' ? [] : half.split(':'));
	if (!words.flat().every(word => /^[a-fA-F0-9]{1,4}$/.test(word)))
		return null;
	const missing = 8 - words.flat().length;
	if (halves.length === 2 ? missing < 1 : missing !== 0)
		return null;
	const zeros = halves.length === 2 ? Array(missing).fill('0') : [];
	return [ ...words[0], ...zeros, ...words[1] ?? [] ].map(word => parseInt(word, 16));
}

const check = (good, expected) => good ? null : expected;
const anyOf = (value, names, args = []) => names.some(name => types[name](value, ...args) === null);

function withPrefix(value, parse, most) {
	const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value);
	return match != null && parse(match[1]) != null && (match[2] == null || +match[2] <= most);
}

function cidr(value, parse, most, negative) {
	const match = /^([^/]+)\/(-)?(\d{1,3})$/.exec(value);
	return match != null && parse(match[1]) != null && (negative || !match[2]) && +match[3] <= most;
}

function masked(value, parse) {
	const parts = value.split('/');
	return parts.length === 2 && parts.every(part => parse(part) != null);
}

function range(value, parse) {
	const ends = value.split('-').map(parse);
	if (ends.length !== 2 || ends.includes(null))
		return false;
	const differ = ends[0].findIndex((part, i) => part !== ends[1][i]);
	return differ < 0 || ends[0][differ] < ends[1][differ];
}

const types = {
	string: (v, wanted) => check(wanted == null || v === wanted, _('string: "%s"').format(wanted)),
	integer: v => check(!isNaN(integer(v)), _('valid integer value')),
	uinteger: v => check(integer(v) >= 0, _('positive integer value')),
	float: v => check(!isNaN(decimal(v)), _('valid decimal value')),
	ufloat: v => check(decimal(v) >= 0, _('positive decimal value')),
	ipaddr: (v, nomask) => check(anyOf(v, [ 'ip4addr', 'ip6addr' ], [ nomask ]),
		nomask ? _('valid IP address') : _('valid IP address or prefix')),
	ip4addr: (v, nomask) => check(parseIPv4(v) || (!nomask && (withPrefix(v, parseIPv4, 32) || masked(v, parseIPv4))),
		nomask ? _('valid IPv4 address') : _('valid IPv4 address or network')),
	ip6addr: (v, nomask) => check(parseIPv6(v) || (!nomask && withPrefix(v, parseIPv6, 128)),
		nomask ? _('valid IPv6 address') : _('valid IPv6 address or prefix')),
	ip4prefix: v => check(!isNaN(v) && v >= 0 && v <= 32, _('valid IPv4 prefix value (0-32)')),
	ip6prefix: v => check(!isNaN(v) && v >= 0 && v <= 128, _('valid IPv6 prefix value (0-128)')),
	cidr: (v, negative) => check(anyOf(v, [ 'cidr4', 'cidr6' ], [ negative ]), _('valid IPv4 or IPv6 CIDR')),
	cidr4: (v, negative) => check(cidr(v, parseIPv4, 32, negative), _('valid IPv4 CIDR')),
	cidr6: (v, negative) => check(cidr(v, parseIPv6, 128, negative), _('valid IPv6 CIDR')),
	ipnet4: v => check(masked(v, parseIPv4), _('IPv4 network in address/netmask notation')),
	ipnet6: v => check(masked(v, parseIPv6), _('IPv6 network in address/netmask notation')),
	ipmask: v => check(anyOf(v, [ 'ipmask4', 'ipmask6' ]), _('valid network in address/netmask notation')),
	ipmask4: v => check(anyOf(v, [ 'cidr4', 'ipnet4', 'ip4addr' ]), _('valid IPv4 network')),
	ipmask6: v => check(anyOf(v, [ 'cidr6', 'ipnet6', 'ip6addr' ]), _('valid IPv6 network')),
	iprange: v => check(anyOf(v, [ 'iprange4', 'iprange6' ]), _('valid IP address range')),
	iprange4: v => check(range(v, parseIPv4), _('valid IPv4 address range')),
	iprange6: v => check(range(v, parseIPv6), _('valid IPv6 address range')),
	port: v => check(integer(v) >= 0 && integer(v) <= 65535, _('valid port value')),
	portrange: v => {
		const ends = /^(\d+)-(\d+)$/.exec(v);
		return check(ends ? +ends[1] <= +ends[2] && +ends[2] <= 65535 : types.port(v) === null,
			_('valid port or port range (port1-port2)'));
	},
	macaddr: (v, multicast) => check(/^([a-fA-F0-9]{2}:){5}[a-fA-F0-9]{2}$/.test(v) && !(parseInt(v, 16) & 1) === !multicast,
		multicast ? _('valid multicast MAC address') : _('valid MAC address')),
	hostname: (v, strict) => check(v.length <= 253 && !(strict && v.startsWith('_')) && (/^[a-zA-Z0-9_]+$/.test(v) ||
		/^[a-zA-Z0-9_][a-zA-Z0-9_\-.]*[a-zA-Z0-9]\.?$/.test(v) && /[^0-9.]/.test(v)), _('valid hostname')),
	host: (v, ipv4only) => check(types.hostname(v) === null || types[ipv4only == 1 ? 'ip4addr' : 'ipaddr'](v, true) === null,
		_('valid hostname or IP address')),
	network: v => check(anyOf(v, [ 'uciname', 'hostname', 'ip4addr', 'ip6addr' ]),
		_('valid UCI identifier, hostname or IP address range')),
	hostport: (v, ipv4only) => {
		const parts = v.split(':');
		return check(parts.length === 2 && types.host(parts[0], ipv4only) === null && types.port(parts[1]) === null,
			_('valid host:port'));
	},
	ip4addrport: v => {
		const parts = v.split(':');
		return check(parts.length === 2 && parseIPv4(parts[0]) && types.port(parts[1]) === null, _('valid IPv4 address:port'));
	},
	ipaddrport: (v, bracket) => {
		const v4 = /^([^[\]:]+):(\d+)$/.exec(v), v6 = (bracket == 1 ? /^\[(.+)\]:(\d+)$/ : /^([^[\]]+):(\d+)$/).exec(v);
		return check((v4 ? parseIPv4(v4[1]) : v6 && parseIPv6(v6[1])) && types.port((v4 ?? v6)[2]) === null,
			_('valid address:port'));
	},
	uciname: v => check(/^[a-zA-Z0-9_]+$/.test(v), _('valid UCI identifier')),
	netdevname: v => check(/^[^:/%\s]{1,15}$/.test(v) && v !== '.' && v !== '..', _('valid network device name')),
	range: (v, low, high) => check(decimal(v) >= +low && decimal(v) <= +high, _('value between %f and %f').format(low, high)),
	min: (v, low) => check(decimal(v) >= +low, _('value greater or equal to %f').format(low)),
	max: (v, high) => check(decimal(v) <= +high, _('value smaller or equal to %f').format(high)),
	length: (v, size) => check(bytes(v) === +size, _('value with %d characters').format(size)),
	rangelength: (v, low, high) => check(bytes(v) >= +low && bytes(v) <= +high,
		_('value between %d and %d characters').format(low, high)),
	minlength: (v, low) => check(bytes(v) >= +low, _('value with at least %d characters').format(low)),
	maxlength: (v, high) => check(bytes(v) <= +high, _('value with at most %d characters').format(high)),
	hexstring: v => check(/^([a-fA-F0-9]{2})+$/.test(v), _('hexadecimal encoded value')),
	timehhmmss: v => check(/^(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)$/.test(v), _('valid time (HH:MM:SS)')),
	or: (v, ...choices) => {
		const wanted = choices.map(choice => typeof choice === 'function' ? choice(v) : check(choice == v, `"${choice}"`));
		return wanted.includes(null) ? null : _('One of the following: %s').format(`\n - ${wanted.join('\n - ')}`);
	},
	and: (v, ...all) => all.map(one => typeof one === 'function' ? one(v) : check(one == v, `"${one}"`))
		.find(expected => expected !== null) ?? null,
	neg: (v, inner) => {
		const expected = inner(v.replace(/^[ \t]*![ \t]*/, ''));
		return expected && _('Potential negation of: %s').format(expected);
	},
	list: (v, inner) => v.trim().split(/[ \t]+/).map(item => inner(item)).find(expected => expected !== null) ?? null,
	file: () => null,
	directory: () => null,
	device: () => null
};

/** A datatype expression as a function of the value. */
function compile(expression) {
	const tokens = expression.match(/"(?:\\.|[^"])*"|'(?:\\.|[^'])*'|[(),]|(?:\\.|[^(),"'\s])+/g) ?? [];

	function term() {
		const token = tokens.shift();
		if (token == null || '(),'.includes(token))
			L.raise('SyntaxError', 'Unhandled token "%s"', token);
		if (/^["']/.test(token))
			return token.slice(1, -1);
		if (!isNaN(token))
			return parseFloat(token);
		if (!Object.hasOwn(types, token))
			L.raise('SyntaxError', 'Unhandled token "%s"', token);
		const args = [];
		if (tokens[0] === '(') {
			for (let mark = tokens.shift(); mark === '(' || mark === ','; mark = tokens.shift())
				if (tokens[0] !== ')')
					args.push(term());
		}
		return value => types[token](value, ...args);
	}

	return term();
}

const Validator = baseclass.extend({
	__init__(field, type, optional, extra) {
		this.field = field;
		this.optional = optional;
		this.extra = L.toArray(typeof extra === 'function' ? [ extra ] : extra);
		this.good = compile(type);
	},

	_fault(value) {
		if (value === '')
			return this.optional ? this._own(value) : _('Expecting: %s').format(_('non-empty value'));
		const expected = this.good(value);
		return expected === null ? this._own(value) : _('Expecting: %s').format(expected);
	},

	_own(value) {
		for (const fn of this.extra) {
			const answer = fn(value);
			if (answer !== true)
				return answer || _('Expecting: %s').format(_('valid value'));
		}
		return null;
	},

	validate() {
		if (!this.field.closest('body, [data-field]'))
			return true;
		const message = this._fault(this.field.value ?? '');
		this.error = message;
		this.field.classList.toggle('cbi-input-invalid', message !== null);
		if (message === null) {
			this.field.removeAttribute('data-tooltip');
			this.field.removeAttribute('data-tooltip-style');
			this.field.dispatchEvent(new CustomEvent('validation-success', { bubbles: true }));
			return true;
		}
		this.field.setAttribute('data-tooltip', message);
		this.field.setAttribute('data-tooltip-style', 'error');
		this.field.dispatchEvent(new CustomEvent('validation-failure', { bubbles: true, detail: { message } }));
		return false;
	}
});

return baseclass.extend({
	create(field, type, optional, extra) {
		return new Validator(field, type, optional, extra);
	},

	/** Null when the value is of the type, else what was expected. */
	test(expression, value) {
		return compile(expression)(value);
	},

	parseInteger: integer, parseDecimal: decimal, parseIPv4, parseIPv6, types
});
