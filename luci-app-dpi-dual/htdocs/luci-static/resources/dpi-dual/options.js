'use strict';
'require baseclass';

// Made from lib/dpi_dual/schema/uci.json by `make generate`; do not edit.

return baseclass.extend({
	// By the section's name, or the type of those that may occur any number of times.
	sections: {
		settings: {
			type: 'global', title: _('General'),
			help: _('What runs, and where results are kept.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Off: nothing runs.'),
					datatype: 'bool', default: '1'
				},
				mode: {
					title: _('Streams'), help: _('Which of the two streams run; LAN flows run in every mode.'),
					datatype: 'or("dual", "mitm-only", "tap-only")', choices: [ [ 'dual', _('both: MITM and TAP') ], [ 'mitm-only', _('MITM only') ], [ 'tap-only', _('TAP only') ] ], default: 'dual'
				},
				correlation: {
					title: _('Correlate both streams'), help: _('Join what the streams saw about an address.'),
					datatype: 'bool', default: '1'
				},
				stats_dir: {
					title: _('Results'), help: _('Directory of the JSON files that other programs read (RAM).'),
					datatype: 'string', format: 'output-path', default: '/tmp/secubox'
				},
				flow_dir: {
					title: _('Finished flows'), help: _('Directory of the finished flows, one file a minute.'),
					datatype: 'string', format: 'output-path', default: '/tmp/dpi-flows'
				},
				state_dir: {
					title: _('State'), help: _('Directory of what survives a reboot (flash).'),
					datatype: 'string', format: 'output-path', default: '/etc/dpi-dual/state'
				},
				checkpoint_interval: {
					title: _('Save state every'), help: _('How often state is copied to flash; more often wears it.'),
					datatype: 'range(10,86400)', range: [ 10, 86400 ], unit: _('seconds'), default: '900'
				},
			}
		},
		mitm: {
			type: 'mitm', title: _('MITM stream'),
			help: _('Stream 1: inspects the requests to the services published behind the router.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Off: not in any mode.'),
					datatype: 'bool', default: '1'
				},
				buffer_size: {
					title: _('Requests kept'), help: _('How many requests Buffer B keeps for analysis and replay.'),
					datatype: 'range(10,100000)', range: [ 10, 100000 ], unit: _('requests'), default: '1000'
				},
				buffer_dir: {
					title: _('Buffer directory'), help: _('Directory of Buffer B and of the analyser\'s socket.'),
					datatype: 'string', format: 'output-path', default: '/tmp/dpi-buffer'
				},
				buffer_retention: {
					title: _('Kept for'), help: _('How long a request is kept.'),
					datatype: 'range(10,604800)', range: [ 10, 604800 ], unit: _('seconds'), default: '3600'
				},
				encrypt_buffer: {
					title: _('Encrypt what is stored'), help: _('Encrypt what is stored of requests.'),
					datatype: 'bool', default: '1'
				},
				async_analysis: {
					title: _('Full analysis'), help: _('Analyse copies with the full rules, beside the live path.'),
					datatype: 'bool', default: '1'
				},
				replay_on_alert: {
					title: _('Look back on an alert'), help: _('Analyse an address\'s earlier requests again when it raises an alert.'),
					datatype: 'bool', default: '1'
				},
				block_threats: {
					title: _('Block threats'), help: _('Refuse requests whose score reaches the block threshold.'),
					datatype: 'bool', default: '0'
				},
				block_threshold: {
					title: _('Block from'), help: _('Score from which a request is refused.'),
					datatype: 'range(1,100)', range: [ 1, 100 ], unit: _('points'), default: '50'
				},
				alert_threshold: {
					title: _('Alert from'), help: _('Score from which a request raises an alert.'),
					datatype: 'range(1,100)', range: [ 1, 100 ], unit: _('points'), default: '30'
				},
				paranoia: {
					title: _('Paranoia level'), help: _('Rule strictness; higher finds more and errs more.'),
					datatype: 'range(1,4)', range: [ 1, 4 ], default: '1'
				},
				waf_engine: {
					title: _('Full rules'), help: _('Full rules: OWASP CRS, the built-in ones, or CRS when it is there.'),
					datatype: 'or("auto", "builtin", "crs")', choices: [ [ 'auto', _('CRS when it is there') ], [ 'builtin', _('built-in rules') ], [ 'crs', _('OWASP CRS') ] ], default: 'auto'
				},
				crs_dir: {
					title: _('CRS directory'), help: _('Directory of the CRS rules; empty: the usual places.'),
					datatype: 'string', format: 'path', default: ''
				},
				manage: {
					title: _('Run mitmdump here'), help: _('The service runs mitmdump on this machine.'),
					datatype: 'bool', default: '0'
				},
				listen: {
					title: _('mitmdump listens on'), help: _('Where mitmdump listens.'),
					datatype: 'string', format: 'listen', default: '127.0.0.1:8088'
				},
				redact_headers: {
					title: _('Blanked headers'), help: _('More headers to blank before storing, beside Authorization, Cookie and their like.'),
					datatype: 'string', format: 'token', list: 64, default: []
				},
				trusted_proxy: {
					title: _('Trusted proxies'), help: _('Peers whose X-Forwarded-For is believed.'),
					datatype: 'or(ipaddr, cidr)', format: 'network', list: 64, default: [ '127.0.0.1', '::1' ]
				},
				max_body: {
					title: _('Body inspected up to'), help: _('How much of a body is inspected.'),
					datatype: 'range(0,16777216)', range: [ 0, 16777216 ], unit: _('bytes'), default: '65536'
				},
			}
		},
		modify: {
			type: 'modify', title: _('Modification rules'),
			help: _('Changes to requests or responses on their way. Any number, applied in this order.'),
			many: 200,
			options: {
				host: {
					title: _('Host'), help: _('Only this host; *.example.org for all below; empty: every host.'),
					datatype: 'string', format: 'host-pattern', default: ''
				},
				path: {
					title: _('Path'), help: _('Only paths that begin so; empty: every path.'),
					datatype: 'string', format: 'url-path', default: ''
				},
				phase: {
					title: _('Phase'), help: _('What is changed.'),
					datatype: 'or("request", "response")', choices: [ [ 'request', _('request') ], [ 'response', _('response') ] ], default: 'request'
				},
				action: {
					title: _('Action'), help: _('What to do.'),
					datatype: 'or("set_header", "remove_header", "replace_body")', choices: [ [ 'set_header', _('set a header') ], [ 'remove_header', _('remove a header') ], [ 'replace_body', _('replace in the body') ] ], required: true, default: ''
				},
				name: {
					title: _('Header'), help: _('The header\'s name.'),
					datatype: 'string', format: 'token', default: ''
				},
				match: {
					title: _('Pattern'), help: _('Regular expression that the text to be replaced matches.'),
					datatype: 'string', format: 'text', default: ''
				},
				value: {
					title: _('New value'), help: _('New header value or replacement text.'),
					datatype: 'string', format: 'text', default: ''
				},
			}
		},
		exclusion: {
			type: 'exclusion', title: _('Exclusions'),
			help: _('Silences one rule where it is a false positive. Any number.'),
			many: 200,
			options: {
				rule: {
					title: _('Rule'), help: _('The rule\'s id, as an alert names it.'),
					datatype: 'string', format: 'token', required: true, default: ''
				},
				host: {
					title: _('Host'), help: _('Only on this host; empty: every host.'),
					datatype: 'string', format: 'host-pattern', default: ''
				},
				path: {
					title: _('Path'), help: _('Only on paths that begin so; empty: every path.'),
					datatype: 'string', format: 'url-path', default: ''
				},
				param: {
					title: _('Parameter'), help: _('Only in this parameter, as ARGS:id or id; empty: anywhere.'),
					datatype: 'string', format: 'text', default: ''
				},
			}
		},
		haproxy: {
			type: 'haproxy', title: _('HAProxy'),
			help: _('TLS in front of mitmproxy.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Render a configuration for HAProxy.'),
					datatype: 'bool', default: '0'
				},
				bind: {
					title: _('HAProxy listens on'), help: _('Where HAProxy listens.'),
					datatype: 'string', format: 'listen', default: ':443'
				},
				certificate: {
					title: _('Certificate'), help: _('PEM file with certificate and key.'),
					datatype: 'string', format: 'path', default: ''
				},
				fail_open: {
					title: _('Fail open'), help: _('When mitmproxy is down, requests go to the backend uninspected.'),
					datatype: 'bool', default: '1'
				},
			}
		},
		backend: {
			type: 'backend', title: _('Published services'),
			help: _('A service published behind the router. Any number.'),
			many: 200,
			options: {
				name: {
					title: _('Name'), help: _('Name in HAProxy and in reports; empty: the section\'s own.'),
					datatype: 'string', format: 'token', default: ''
				},
				host: {
					title: _('Host'), help: _('The Host that clients ask for.'),
					datatype: 'string', format: 'host-pattern', required: true, default: ''
				},
				address: {
					title: _('Address'), help: _('Where it really is: address:port, or with http:// or https:// before it.'),
					datatype: 'string', format: 'origin', required: true, default: ''
				},
			}
		},
		tap: {
			type: 'tap', title: _('TAP stream'),
			help: _('Stream 2: classifies a copy of the WAN traffic; cannot slow or break it.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Off: not in any mode.'),
					datatype: 'bool', default: '1'
				},
				interface: {
					title: _('Capture interface'), help: _('Capture interface that the copies go to.'),
					datatype: 'string', format: 'interface', default: 'tap0'
				},
				mirror_source: {
					title: _('Mirrored interfaces'), help: _('Interfaces to copy from: the WAN.'),
					datatype: 'string', format: 'interface', list: 16, default: [ 'eth0' ]
				},
				mirror_mode: {
					title: _('Mirror'), help: _('Hardware: a switch sends the copies, nothing is set up.'),
					datatype: 'or("software", "hardware")', choices: [ [ 'software', _('made here by tc') ], [ 'hardware', _('made by a switch') ] ], default: 'software'
				},
				flow_retention: {
					title: _('Flows kept for'), help: _('How long a finished flow is kept.'),
					datatype: 'range(10,86400)', range: [ 10, 86400 ], unit: _('seconds'), default: '300'
				},
				netifyd_instance: {
					title: _('netifyd instance'), help: _('Name of the netifyd instance that watches it.'),
					datatype: 'string', format: 'token', default: 'tap'
				},
				netifyd_socket: {
					title: _('netifyd socket'), help: _('That instance\'s socket; empty: found by name.'),
					datatype: 'string', format: 'path', default: ''
				},
			}
		},
		lan: {
			type: 'lan', title: _('LAN flows'),
			help: _('LAN flows: who uses what, from netifyd on the LAN bridge.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Off: nothing of the LAN is counted.'),
					datatype: 'bool', default: '1'
				},
				interface: {
					title: _('Interfaces'), help: _('Interfaces of the LAN.'),
					datatype: 'string', format: 'interface', list: 16, default: [ 'br-lan' ]
				},
				realtime: {
					title: _('Live rates'), help: _('Live rates for each client.'),
					datatype: 'bool', default: '1'
				},
				track_clients: {
					title: _('Clients'), help: _('Figures for each client.'),
					datatype: 'bool', default: '1'
				},
				track_destinations: {
					title: _('Destinations'), help: _('Figures for each outside address.'),
					datatype: 'bool', default: '1'
				},
				track_protocols: {
					title: _('Protocols and applications'), help: _('Figures for each protocol and application.'),
					datatype: 'bool', default: '1'
				},
				aggregate_interval: {
					title: _('Work out figures every'), help: _('How often the figures are worked out.'),
					datatype: 'range(1,300)', range: [ 1, 300 ], unit: _('seconds'), default: '5'
				},
				client_retention: {
					title: _('Silent clients listed for'), help: _('How long a silent client stays in the list.'),
					datatype: 'range(10,2592000)', range: [ 10, 2592000 ], unit: _('seconds'), default: '3600'
				},
				history_days: {
					title: _('History'), help: _('How long the history goes back.'),
					datatype: 'range(0,3650)', range: [ 0, 3650 ], unit: _('days'), default: '30'
				},
				netifyd_instance: {
					title: _('netifyd instance'), help: _('Name of the netifyd instance that watches it.'),
					datatype: 'string', format: 'token', default: 'lan'
				},
				netifyd_socket: {
					title: _('netifyd socket'), help: _('That instance\'s socket; empty: found by name.'),
					datatype: 'string', format: 'path', default: ''
				},
			}
		},
		correlation: {
			type: 'correlation', title: _('Correlation'),
			help: _('Joins both streams by address, keeps a reputation, bans when told to.'),
			options: {
				enabled: {
					title: _('Enabled'), help: _('Off: no reputation and no bans; the general switch must be on too.'),
					datatype: 'bool', default: '1'
				},
				window: {
					title: _('Window'), help: _('How far apart an event and a flow may be.'),
					datatype: 'range(1,3600)', range: [ 1, 3600 ], unit: _('seconds'), default: '60'
				},
				output: {
					title: _('Threats file'), help: _('File of the correlated threats.'),
					datatype: 'string', format: 'output-path', default: '/tmp/secubox/correlated-threats.json'
				},
				watch_crowdsec: {
					title: _('Follow CrowdSec'), help: _('Follow CrowdSec\'s decisions.'),
					datatype: 'bool', default: '1'
				},
				auto_ban: {
					title: _('Ban automatically'), help: _('Ask CrowdSec for a ban when a reputation reaches the threshold.'),
					datatype: 'bool', default: '0'
				},
				auto_ban_threshold: {
					title: _('Ban from'), help: _('Reputation from which an address is banned.'),
					datatype: 'range(1,100)', range: [ 1, 100 ], unit: _('points'), default: '80'
				},
				auto_ban_duration: {
					title: _('Ban lasts'), help: _('How long a ban lasts.'),
					datatype: 'string', format: 'duration', default: '4h'
				},
				notifications: {
					title: _('Notifications'), help: _('Notify of severe threats.'),
					datatype: 'bool', default: '1'
				},
				notification_threshold: {
					title: _('Notify from'), help: _('Score from which a threat is notified.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '70'
				},
				reputation_decay: {
					title: _('Reputation falls by'), help: _('What a reputation loses each time.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '5'
				},
				decay_interval: {
					title: _('Reputation falls every'), help: _('How often reputations fall.'),
					datatype: 'range(10,604800)', range: [ 10, 604800 ], unit: _('seconds'), default: '3600'
				},
				sensitivity: {
					title: _('Sensitivity'), help: _('How much each event weighs; custom: the points of the section scoring.'),
					datatype: 'or("low", "medium", "high", "custom")', choices: [ [ 'low', _('low (×0.7)') ], [ 'medium', _('medium (×1)') ], [ 'high', _('high (×1.3)') ], [ 'custom', _('custom') ] ], default: 'medium'
				},
				webhook: {
					title: _('Webhooks'), help: _('Addresses that get each notification as JSON.'),
					datatype: 'string', format: 'url', list: 16, default: []
				},
			}
		},
		scoring: {
			type: 'scoring', title: _('Scoring'),
			help: _('Points that an event adds to a reputation; used with sensitivity custom.'),
			options: {
				waf_block: {
					title: _('WAF block'), help: _('A request was refused.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '25'
				},
				waf_alert: {
					title: _('WAF alert'), help: _('A request raised an alert.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '15'
				},
				crowdsec_ban: {
					title: _('CrowdSec ban'), help: _('CrowdSec banned the address.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '30'
				},
				dpi_threat: {
					title: _('Risky flow'), help: _('A risky flow.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '20'
				},
				scanner: {
					title: _('Scanner'), help: _('A scanner at work.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '35'
				},
				brute_force: {
					title: _('Brute force'), help: _('Guessing of passwords.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '40'
				},
				default: {
					title: _('Any other event'), help: _('Any other event.'),
					datatype: 'range(0,100)', range: [ 0, 100 ], unit: _('points'), default: '10'
				},
			}
		},
		whitelist: {
			type: 'whitelist', title: _('Whitelist'),
			help: _('Never banned, by any path.'),
			options: {
				ip: {
					title: _('Addresses and networks'), help: _('Addresses and networks, IPv4 and IPv6.'),
					datatype: 'or(ipaddr, cidr)', format: 'network', list: 4096, default: []
				},
			}
		},
		crowdsec: {
			type: 'crowdsec', title: _('CrowdSec'),
			help: _('Where decisions come from, and who bans.'),
			options: {
				url: {
					title: _('Local API'), help: _('Address of CrowdSec\'s local API.'),
					datatype: 'string', format: 'url', default: 'http://127.0.0.1:8080'
				},
				machine_id: {
					title: _('Machine login'), help: _('Login of this machine.'),
					datatype: 'string', format: 'text', default: ''
				},
				ban_mode: {
					title: _('Bans'), help: _('Profile: CrowdSec\'s profiles decide about bans; decision: banned at once.'),
					datatype: 'or("profile", "decision")', choices: [ [ 'profile', _('CrowdSec\'s profiles decide') ], [ 'decision', _('at once') ] ], default: 'profile'
				},
			}
		},
		export: {
			type: 'export', title: _('Exports'),
			help: _('Figures and events for other systems.'),
			options: {
				sensor_id: {
					title: _('Name of this router'), help: _('Name of this router in exports; empty: its host name.'),
					datatype: 'string', format: 'text', default: ''
				},
				prometheus: {
					title: _('Prometheus'), help: _('Metrics for Prometheus.'),
					datatype: 'bool', default: '0'
				},
				textfile: {
					title: _('node_exporter file'), help: _('Metrics file for node_exporter; empty: none.'),
					datatype: 'string', format: 'output-path', default: ''
				},
				influx_url: {
					title: _('InfluxDB'), help: _('InfluxDB write address; empty: none.'),
					datatype: 'string', format: 'url', default: ''
				},
				eve: {
					title: _('EVE events'), help: _('Events as EVE JSON lines.'),
					datatype: 'bool', default: '0'
				},
				eve_path: {
					title: _('EVE file'), help: _('File of these; empty: eve.json among the results.'),
					datatype: 'string', format: 'output-path', default: ''
				},
				eve_spool_mb: {
					title: _('EVE file grows up to'), help: _('How large that file may grow.'),
					datatype: 'range(1,1024)', range: [ 1, 1024 ], unit: _('MiB'), default: '16'
				},
				mqtt: {
					title: _('MQTT'), help: _('Events over MQTT.'),
					datatype: 'bool', default: '0'
				},
				mqtt_host: {
					title: _('MQTT broker'), help: _('The broker.'),
					datatype: 'string', format: 'host', default: ''
				},
				mqtt_port: {
					title: _('MQTT port'), help: _('The broker\'s port.'),
					datatype: 'port', range: [ 1, 65535 ], default: '8883'
				},
				mqtt_tls: {
					title: _('MQTT over TLS'), help: _('Encrypt.'),
					datatype: 'bool', default: '1'
				},
				mqtt_user: {
					title: _('MQTT login'), help: _('Login at the broker.'),
					datatype: 'string', format: 'text', default: ''
				},
				mqtt_topic: {
					title: _('MQTT topic'), help: _('Topics begin with this.'),
					datatype: 'string', format: 'topic', default: 'dpi-dual'
				},
			}
		},
	},

	// What stands in the second file, dpi-dual-secrets: written, never read.
	secrets: {
		crowdsec: {
			type: 'crowdsec', title: _('CrowdSec'),
			help: _('Where decisions come from, and who bans.'),
			options: {
				password: {
					title: _('Machine password'), help: _('Password of the machine login.'),
					datatype: 'string', format: 'text', default: ''
				},
				bouncer_key: {
					title: _('Bouncer key'), help: _('Key for reading decisions.'),
					datatype: 'string', format: 'text', default: ''
				},
			}
		},
		export: {
			type: 'export', title: _('Exports'),
			help: _('Figures and events for other systems.'),
			options: {
				mqtt_password: {
					title: _('MQTT password'), help: _('Password at the broker.'),
					datatype: 'string', format: 'text', default: ''
				},
				influx_token: {
					title: _('InfluxDB token'), help: _('Token for writing to InfluxDB.'),
					datatype: 'string', format: 'text', default: ''
				},
			}
		},
	},

	// What each format wants, to follow “expecting”.
	formats: {
		'text': _('text'),
		'token': _('one word of letters, digits and -_.'),
		'interface': _('the name of a network interface'),
		'host': _('a host name or address'),
		'host-pattern': _('a host name, an address or *.domain'),
		'network': _('an IP address or network'),
		'listen': _('address:port'),
		'origin': _('address:port'),
		'path': _('an absolute path without ..'),
		'output-path': _('an absolute path without .., at least two levels deep and outside the system\'s own directories'),
		'url-path': _('a path that begins with /'),
		'url': _('an http:// or https:// address'),
		'duration': _('a duration such as 30m, 4h or 7d, at most a year'),
		'topic': _('an MQTT topic without # and +'),
	}
});
