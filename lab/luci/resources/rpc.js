'use strict';
'require baseclass';
'require request';
'require session';

/* Calls to ubus: `declare()` makes a function of a method. */

let lastId = 0;
let sessionId = session.getID();
const interceptors = [];

const STATUS = [ 'Command OK', 'Invalid command', 'Invalid argument', 'Method not found', 'Resource not found', 'No data received',
	'Permission denied', 'Request timeout', 'Not supported', 'Unspecified error', 'Connection lost' ];

const kind = value => Object.prototype.toString.call(value);

/** What a caller gets of a reply: the part that `expect` names, or its default when the type differs. */
function expected(result, expect) {
	const [ key ] = Object.keys(expect ?? {});
	if (key === undefined)
		return result;
	const part = result != null && key !== '' ? result[key] : result;
	return part == null || kind(part) !== kind(expect[key]) ? expect[key] : part;
}

function parameters(names, args) {
	const values = {};
	if (Array.isArray(names)) {
		names.forEach((name, i) => { values[name] = args[i]; });
		return [ values, args.slice(names.length) ];
	}
	if (L.isObject(names)) {
		for (const name of Object.keys(names))
			if (L.isObject(args[0]) && name in args[0])
				values[name] = args[0][name];
		return [ values, args.slice(1) ];
	}
	return [ values, args ];
}

return baseclass.extend({
	async _send(message, about, nobatch) {
		const answer = await request.post(L.env.ubuspath, message, { nobatch, timeout: (L.env.rpctimeout ?? 20) * 1000 });
		if (!answer.ok)
			L.raise('RPCError', 'RPC call to %s/%s failed with HTTP error %d: %s', about.object, about.method, answer.status,
				answer.statusText || '?');
		const reply = answer.json();
		await Promise.all(interceptors.map(fn => fn(reply, about)));
		if (!L.isObject(reply) || reply.jsonrpc !== '2.0')
			L.raise('RPCError', 'RPC call to %s/%s returned invalid message frame', about.object, about.method);
		if (L.isObject(reply.error) && reply.error.code && reply.error.message)
			L.raise('RPCError', 'RPC call to %s/%s failed with error %d: %s', about.object, about.method, reply.error.code,
				reply.error.message);
		return reply.result;
	},

	declare(options) {
		return async (...args) => {
			const [ params, rest ] = parameters(options.params, args);
			const message = {
				jsonrpc: '2.0',
				id: ++lastId,
				method: 'call',
				params: [ sessionId, options.object, options.method, params ]
			};
			let result = await this._send(message, { object: options.object, method: options.method, params }, options.nobatch);
			if (Array.isArray(result)) {
				if (options.reject && result[0] !== 0)
					L.raise('RPCError', 'RPC call to %s/%s failed with ubus code %d: %s', options.object, options.method, result[0],
						this.getStatusText(result[0]));
				result = result.length > 1 ? result[1] : result[0];
			}
			result = expected(result, options.expect);
			return typeof options.filter === 'function' ? options.filter(result, params, ...rest) : result;
		};
	},

	list(...names) {
		const message = { jsonrpc: '2.0', id: ++lastId, method: 'list', params: names.length ? names : undefined };
		return this._send(message, {}, false);
	},

	getSessionID() {
		return sessionId;
	},

	setSessionID(id) {
		sessionId = id;
	},

	getBaseURL() {
		return L.env.ubuspath;
	},

	setBaseURL(url) {
		L.env.ubuspath = url;
	},

	getStatusText(code) {
		return _(STATUS[code] ?? 'Unknown error code');
	},

	addInterceptor(fn) {
		if (typeof fn === 'function')
			interceptors.push(fn);
		return fn;
	},

	removeInterceptor(fn) {
		const at = interceptors.indexOf(fn);
		if (at >= 0)
			interceptors.splice(at, 1);
		return at >= 0;
	}
});
