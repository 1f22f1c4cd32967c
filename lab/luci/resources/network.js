'use strict';
'require baseclass';
'require rpc';

/* The router's network interfaces. */

const callDevices = rpc.declare({ object: 'luci-rpc', method: 'getNetworkDevices', expect: { '': {} } });

const Device = baseclass.extend({
	__init__(data) {
		this.data = data;
	},

	getName() {
		return this.data.name;
	},

	isUp() {
		return !!this.data.up;
	},

	getI18n() {
		return this.data.name;
	}
});

return baseclass.extend({
	async getDevices() {
		this.devices ??= callDevices();
		const found = await this.devices;
		return Object.keys(found).sort(L.naturalCompare).map(name => new Device(found[name]));
	},

	async getDevice(name) {
		return (await this.getDevices()).find(device => device.getName() === name) ?? null;
	},

	flushCache() {
		delete this.devices;
		return Promise.resolve();
	}
});
