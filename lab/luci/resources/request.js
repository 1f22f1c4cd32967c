'use strict';
'require baseclass';

/* HTTP requests; calls to ubus made before the next frame travel as one batch. */

const Response = baseclass.extend({
	__name__: 'response',

	__init__(answer, text, url, duration) {
		Object.assign(this, { ok: answer.ok, status: answer.status, statusText: answer.statusText, headers: answer.headers });
		Object.assign(this, { url, duration, responseText: text, responseJSON: null });
	},

	clone(content) {
		const copy = new Response(this, JSON.stringify(content), this.url, this.duration);
		copy.responseJSON = content;
		return copy;
	},

	json() {
		return this.responseJSON ??= JSON.parse(this.responseText);
	},

	text() {
		return this.responseText;
	},

	blob() {
		return new Blob([ this.responseText ]);
	}
});

let leaving = false;
window.addEventListener('pagehide', () => { leaving = true; });
window.addEventListener('pageshow', () => { leaving = false; });

/** The browser breaks off requests when one leaves the page: nobody is there to be told of that. */
async function fetchUnlessLeaving(url, options) {
	try {
		return await fetch(url, options);
	}
	catch (error) {
		if (leaving)
			return new Promise(() => {});
		throw error;
	}
}

function withQuery(url, options) {
	const words = Object.entries(options.query ?? {}).map(([ key, value ]) => value == null ? encodeURIComponent(key)
		: `${encodeURIComponent(key)}=${encodeURIComponent(typeof value === 'object' ? JSON.stringify(value) : value)}`);
	if (!options.cache)
		words.push(Date.now());
	return words.length ? `${url}${url.includes('?') ? '&' : '?'}${words.join('&')}` : url;
}

function body(content, headers) {
	if (content == null || content instanceof FormData || typeof content !== 'object')
		return content == null ? undefined : content;
	headers['Content-Type'] ??= 'application/json';
	return JSON.stringify(content);
}

return baseclass.extend({
	__init__() {
		this.interceptors = [];
		this.waiting = [];
	},

	expandURL(url) {
		return new URL(url, location.origin).href;
	},

	async request(target, options = {}) {
		const url = this.expandURL(await target);
		const method = String(options.method ?? 'GET').toUpperCase();
		const batchable = method === 'POST' && typeof options.content === 'object' && !options.nobatch &&
			L.rpc && url.startsWith(this.expandURL(L.rpc.getBaseURL()));
		if (batchable)
			return this._enqueue(url, options);
		const headers = { ...options.headers };
		const started = Date.now();
		const answer = await fetchUnlessLeaving(withQuery(url, options), {
			method,
			headers,
			body: body(options.content, headers),
			credentials: 'same-origin',
			signal: options.timeout ? AbortSignal.timeout(options.timeout) : undefined
		});
		const response = new Response(answer, await answer.text(), url, Date.now() - started);
		await Promise.all(this.interceptors.map(fn => fn(response)));
		return response;
	},

	_enqueue(url, options) {
		return new Promise((resolve, reject) => {
			this.waiting.push({ content: options.content, resolve, reject });
			if (this.waiting.length === 1)
				requestAnimationFrame(() => this._flush(url, options));
		});
	},

	async _flush(url, options) {
		const batch = this.waiting.splice(0);
		try {
			const reply = await this.request(url, { ...options, content: batch.map(item => item.content), nobatch: true });
			const answers = reply.ok ? reply.json() : [];
			batch.forEach((item, i) => answers[i] == null ? item.reject(new Error('No related RPC reply'))
				: item.resolve(reply.clone(answers[i])));
		}
		catch (error) {
			batch.forEach(item => item.reject(error));
		}
	},

	get(url, options) {
		return this.request(url, { ...options, method: 'GET' });
	},

	post(url, content, options) {
		return this.request(url, { ...options, method: 'POST', content });
	},

	addInterceptor(fn) {
		if (typeof fn === 'function')
			this.interceptors.push(fn);
		return fn;
	},

	removeInterceptor(fn) {
		const before = this.interceptors.length;
		this.interceptors = this.interceptors.filter(other => other !== fn);
		return this.interceptors.length < before;
	}
});
