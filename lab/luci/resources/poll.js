'use strict';
'require baseclass';

/* Functions called again every so many seconds; one that still runs is left out. */

return baseclass.extend({
	__init__() {
		this.queue = [];
		this.timer = null;
	},

	add(fn, interval) {
		if (interval == null || interval <= 0)
			interval = L.env.pollinterval || null;
		if (isNaN(interval) || typeof fn !== 'function')
			throw new TypeError('Invalid argument to LuCI.poll.add()');
		if (this.queue.some(entry => entry.fn === fn))
			return false;
		this.queue.push({ fn, interval: interval >>> 0, idle: true });
		if (this.wanted && !this.active())
			this.start();
		return true;
	},

	remove(fn) {
		if (typeof fn !== 'function')
			throw new TypeError('Invalid argument to LuCI.poll.remove()');
		const before = this.queue.length;
		this.queue = this.queue.filter(entry => entry.fn !== fn);
		if (!this.queue.length && this.stop())
			this.wanted = true;
		return this.queue.length !== before;
	},

	start() {
		if (this.active())
			return false;
		this.wanted = true;
		this.tick = 0;
		if (this.queue.length) {
			this.timer = window.setInterval(() => this.step(), 1000);
			this.step();
			document.dispatchEvent(new CustomEvent('poll-start'));
		}
		return true;
	},

	stop() {
		if (!this.active())
			return false;
		document.dispatchEvent(new CustomEvent('poll-stop'));
		window.clearInterval(this.timer);
		this.timer = null;
		this.wanted = false;
		return true;
	},

	step() {
		for (const entry of [ ...this.queue ]) {
			if (this.tick % entry.interval || !entry.idle)
				continue;
			entry.idle = false;
			Promise.resolve(entry.fn()).finally(() => { entry.idle = true; });
		}
		this.tick++;
	},

	active() {
		return this.timer != null;
	}
});
