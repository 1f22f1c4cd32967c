'use strict';
'require baseclass';
'require dpi-dual.options as options';

// Which texts an option takes: the checks of lib/dpi_dual/schema/values.py, under the same names.

const HOST = /^(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?$/;
const OCTET = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const IPV4 = new RegExp('^' + OCTET + '(\\.' + OCTET + '){3}$');
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };
const YEAR = 365 * 86400;

// Nothing is written below these.
const RESERVED =
	/^\/(bin|boot|dev|lib|lib64|overlay|proc|rom|root|sbin|sys|usr|www)(\/|$)|^\/etc(?!\/dpi-dual(\/|$))(\/|$)/;

const isIPv4 = text => IPV4.test(text);

function isIPv6(text) {
	const halves = text.replace(/%[^%/\s]+$/, '').split('::');
	if (halves.length > 2 || /%/.test(halves.join('')))
		return false;

	let groups = 0;
	for (let half = 0; half < halves.length; half++) {
		const parts = halves[half] === '' ? [] : halves[half].split(':');
		for (let i = 0; i < parts.length; i++) {
			const last = half === halves.length - 1 && i === parts.length - 1;
			if (last && parts[i].includes('.') && isIPv4(parts[i]))
				groups += 2;
			else if (/^[0-9A-Fa-f]{1,4}$/.test(parts[i]))
				groups += 1;
			else
				return false;
		}
	}
	return halves.length === 2 ? groups <= 7 : groups === 8;
}

const isAddress = text => isIPv4(text) || isIPv6(text);

function isNetwork(text) {
	const [ address, length, more ] = text.split('/');
	if (more !== undefined)
		return false;
	const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
	return bits > 0 && (length === undefined || (/^[0-9]{1,3}$/.test(length) && +length <= bits));
}

const isHost = text => /^([0-9.]+|.*:.*)$/.test(text) ? isAddress(text) : text.length <= 253 && HOST.test(text);

const isBareHost = text => text.startsWith('[')
	? text.endsWith(']') && isIPv6(text.slice(1, -1))
	: !text.includes(':') && isHost(text);

function isEndpoint(text, hostOptional) {
	const [ , host, port ] = text.match(/^(.*):([0-9]{1,5})$/) || [];
	if (port === undefined || +port < 1 || +port > 65535)
		return false;
	return host === '' ? !!hostOptional : isBareHost(host);
}

const isPath = text => text.startsWith('/') && !text.split('/').includes('..');

function isOutputPath(text) {
	const plain = text.replace(/\/(\.?\/)+|\/\.$/g, '/').replace(/\/+$/, '');
	return isPath(text) && plain.split('/').length > 2 && !RESERVED.test(plain);
}

function isDuration(text) {
	if (!/^(([0-9]{1,9}[smhd])+|[0-9]{1,9})$/.test(text))
		return false;
	const seconds = /^[0-9]+$/.test(text) ? +text
		: text.match(/[0-9]+[smhd]/g).reduce((sum, part) => sum + parseInt(part, 10) * SECONDS[part.slice(-1)], 0);
	return seconds >= 1 && seconds <= YEAR;
}

function isUrl(text) {
	const [ , host ] = text.match(/^https?:\/\/([^/?#\s@]+)([/?#]\S*)?$/) || [];
	return host !== undefined && (isBareHost(host) || isEndpoint(host));
}

const ACCEPTS = {
	'text': () => true,
	'token': text => /^[!#$%&*+.^_|~0-9A-Za-z-]{1,128}$/.test(text),
	'interface': text => /^[!-.0-9;-~]{1,15}$/.test(text) && text !== '.' && text !== '..',
	'host': isHost,
	'host-pattern': text => isHost(text.replace(/^\*\./, '')),
	'network': isNetwork,
	'listen': text => isEndpoint(text, true),
	'origin': text => isEndpoint(text.replace(/^https?:\/\//, '')),
	'path': isPath,
	'output-path': isOutputPath,
	'url-path': text => /^\/\S*$/.test(text),
	'url': isUrl,
	'duration': isDuration,
	'topic': text => /^[^#+]+$/.test(text)
};

return baseclass.extend({
	/** Whether `text` is of the format, as the engine sees it. */
	accepts: (format, text) => text.length <= 1024 && !/[\x00-\x1f\x7f]/.test(text) && ACCEPTS[format](text),

	/** `true`, or a sentence that says what an option (of options.js) takes instead of `text`; empty means default. */
	check(option, text) {
		if (text === '' || text == null)
			return option.required ? _('A value is needed.') : true;
		if (option.range) {
			const [ least, most ] = option.range;
			if (!/^[+-]?[0-9]{1,18}$/.test(text) || +text < least || +text > most)
				return _('Expecting a whole number from %d to %d.').format(least, most);
		}
		else if (option.format && !this.accepts(option.format, text)) {
			return _('Expecting %s.').format(options.formats[option.format]);
		}
		return true;
	},

	/** Whether a switch is on: UCI's many words for it; null for none of them. */
	isOn(text) {
		const word = String(text).toLowerCase();
		if ([ '1', 'on', 'yes', 'true', 'enabled' ].includes(word))
			return true;
		return [ '0', 'off', 'no', 'false', 'disabled' ].includes(word) ? false : null;
	}
});
