// How the load generator talks to the servers that Parley is compared with.

/** @typedef {import('../../dist/load/client-protocol.js').ClientProtocol} ClientProtocol */

/** For baseline-ws.mjs. @returns {ClientProtocol} */
export function wsProtocol() {
  return {
    acknowledgesPublishes: false,
    pong: '',
    requestTarget: ({ channels }) => `/?${channels.map((channel) => `channel=${channel}`).join('&')}`,
    opening: () => undefined,
    publish: (_id, channel, data) => `${channel} ${data}`,
    frameKind: () => 'push',
    onOpeningReply: () => {},
    errorCode: (text) => text,
  }
}

const digit = { ping: '2'.charCodeAt(0), message: '4'.charCodeAt(0), event: '2'.charCodeAt(0) }

/**
 * For baseline-socket-io.mjs: the parts of Engine.IO 4 and Socket.IO 5 that it needs.
 * @returns {ClientProtocol}
 */
export function socketIoProtocol() {
  return {
    acknowledgesPublishes: false,
    pong: '3',
    requestTarget: () => '/socket.io/?EIO=4&transport=websocket',
    // Two replies: one opens the connection, the other the namespace.
    opening: ({ channels }) => ({ text: `40${JSON.stringify({ channels })}`, replies: 2 }),
    publish: (_id, channel, data) => `42["publish","${channel}","${data}"]`,
    frameKind: (bytes, from, to) => {
      if (to - from === 1 && bytes[from] === digit.ping) return 'ping'
      return bytes[from] === digit.message && bytes[from + 1] === digit.event ? 'push' : 'reply'
    },
    onOpeningReply: () => {},
    errorCode: (text) => text,
  }
}
