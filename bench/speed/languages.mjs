// What the crowd says to whom it is compared with.

/** @typedef {import('../../dist/load/language.js').Language} Language */

/** To floor-ws.mjs. @returns {Language} */
export function floorLanguage() {
  return {
    acknowledges: false,
    pong: '',
    target: ({ channels }) => `/?${channels.map((channel) => `channel=${channel}`).join('&')}`,
    hello: () => undefined,
    publish: (_id, channel, data) => `${channel} ${data}`,
    hear: () => 'push',
    welcome: () => {},
    refusal: (text) => text,
  }
}

const digit = { ping: '2'.charCodeAt(0), message: '4'.charCodeAt(0), event: '2'.charCodeAt(0) }

/** To floor-socket-io.mjs: Engine.IO 4 and Socket.IO 5, as far as it goes. @returns {Language} */
export function socketIoLanguage() {
  return {
    acknowledges: false,
    pong: '3',
    target: () => '/socket.io/?EIO=4&transport=websocket',
    // Two answers: the line is open, the namespace is.
    hello: ({ channels }) => ({ text: `40${JSON.stringify({ channels })}`, answers: 2 }),
    publish: (_id, channel, data) => `42["publish","${channel}","${data}"]`,
    hear: (bytes, from, to) => {
      if (to - from === 1 && bytes[from] === digit.ping) return 'ping'
      return bytes[from] === digit.message && bytes[from + 1] === digit.event ? 'push' : 'answer'
    },
    welcome: () => {},
    refusal: (text) => text,
  }
}
