// The hostile neighbour: tenant A at ten times its quotas, in the dimensions that its arguments name, until
// it is killed. It connects again when it is closed. node neighbour-load.mjs <ws url> <issuer as JSON> <plan
// as JSON> <dimension>…
import { Agent, request } from 'node:http'
import { WebSocket } from 'ws'
import { mintToken } from '../../dist/auth/mint.js'

const [url = '', issuerText = '', planText = '', ...dimensions] = process.argv.slice(2)
const issuer = JSON.parse(issuerText)
const { apiKey, excess, limits } = JSON.parse(planText)
const tenant = '/bench/a'
/** The limits of one address concern the neighbour only if it has the same. */
const localAddress = '127.0.0.2'
const tokens = await Promise.all(
  Array.from({ length: 50 }, (_, index) =>
    mintToken(issuer, { user: `mallory${index}`, expiresInS: 86_400, nowMs: Date.now() }),
  ),
)

/** @type {Record<string, number>} */
const counts = {}
/** @param {string} what */
const count = (what) => {
  counts[what] = (counts[what] ?? 0) + 1
}

/** A client that stays connected. `receives`: it reads what it is sent, which it ignores. */
class Client {
  /** @param {number} index @param {readonly string[]} channels */
  constructor(index, channels) {
    this.index = index
    this.channels = channels
    this.id = 10
    this.open()
  }

  open() {
    const socket = new WebSocket(`${url}${tenant}/connection/websocket`, { localAddress })
    this.socket = socket
    socket.on('error', () => {})
    socket.on('open', () => {
      socket.send(JSON.stringify({ id: 1, connect: { token: tokens[this.index % tokens.length] } }))
      for (const channel of this.channels) this.send({ subscribe: { channel } })
    })
    socket.on('message', (data) => {
      if (/** @type {Buffer} */ (data).length === 2) socket.send('{}')
    })
    socket.on('close', (code) => {
      count(`closed ${code}`)
      setTimeout(() => this.open(), 500)
    })
  }

  /** @param {object} command */
  send(command) {
    const { socket } = this
    if (socket?.readyState !== WebSocket.OPEN || socket.bufferedAmount > 1_000_000) return
    this.id += 1
    count('commands')
    socket.send(JSON.stringify({ id: this.id, ...command }))
  }
}

/** @param {number} length @param {readonly string[]} [channels] */
const clients = (length, channels = []) => Array.from({ length }, (_, index) => new Client(index, channels))

/** Calls `act` `perSecond` times per second. @param {number} perSecond @param {(n: number) => void} act */
function pace(perSecond, act) {
  const startedMs = performance.now()
  let done = 0
  setInterval(() => {
    const due = Math.min(((performance.now() - startedMs) * perSecond) / 1000, done + perSecond)
    for (; done < due; done += 1) act(done)
  }, 10)
}

const agent = new Agent({ keepAlive: true, maxSockets: 64, localAddress })
let calls = 0
/** @param {string} method @param {object} body */
function api(method, body) {
  if (calls >= 256) return
  calls += 1
  const text = JSON.stringify(body)
  const headers = { 'X-API-Key': apiKey, 'Content-Type': 'application/json', 'Content-Length': text.length }
  const call = request(`${url.replace('ws:', 'http:')}${tenant}/api/${method}`, {
    agent,
    method: 'POST',
    headers,
  })
  call.on('response', (response) => {
    count(`api ${response.statusCode}`)
    response.resume()
  })
  call.on('error', () => {})
  call.on('close', () => {
    calls -= 1
  })
  call.end(text)
}

const text = (/** @type {number} */ bytes) => 'x'.repeat(bytes)
const rates = limits.messages
/** @type {Record<string, () => void>} */
const attacks = {
  publish() {
    const senders = clients(40)
    pace(excess * rates.publishPerSecond, (n) =>
      senders[n % 40]?.send({ publish: { channel: `kept:p${n % 10}`, data: text(100) } }),
    )
  },
  'fan-out'() {
    clients(200, ['ephemeral:crowd'])
    const senders = clients(20)
    const perSecond = Math.min(rates.publishPerSecond, (excess * rates.bytesOutPerSecond) / 200 / 4_000)
    pace(perSecond, (n) =>
      senders[n % 20]?.send({ publish: { channel: 'ephemeral:crowd', data: text(4_000) } }),
    )
  },
  history() {
    const readers = clients(100)
    pace(
      20,
      (n) => n < 200 && readers[n % 100]?.send({ publish: { channel: 'kept:long', data: text(4_000) } }),
    )
    pace(excess * rates.readsPerSecond, (n) =>
      readers[n % 100]?.send({ history: { channel: 'kept:long', limit: 300 } }),
    )
  },
  joins() {
    const joiners = clients(100)
    pace((excess * rates.joinsPerSecond) / 2, (n) => {
      const channel = `present:j${n % 50}`
      joiners[n % 100]?.send({ subscribe: { channel } })
      joiners[n % 100]?.send({ unsubscribe: { channel } })
    })
  },
  presence() {
    const members = clients(150, ['present:room'])
    pace(excess * rates.readsPerSecond, (n) =>
      members[n % 150]?.send({ presence: { channel: 'present:room' } }),
    )
  },
  api() {
    pace(excess * limits.api.requestsPerSecond, () => api('history', { channel: 'kept:long', limit: 100 }))
  },
  connects() {
    pace(excess * limits.connections.connectsPerSecond, (n) => {
      const socket = new WebSocket(`${url}${tenant}/connection/websocket`, { localAddress })
      socket.on('error', () => {})
      socket.on('open', () => {
        socket.send(JSON.stringify({ id: 1, connect: { token: tokens[n % tokens.length] } }))
        setTimeout(() => socket.terminate(), 200)
      })
    })
  },
  storage() {
    const senders = clients(40)
    pace(excess * rates.publishPerSecond, (n) =>
      senders[n % 40]?.send({ publish: { channel: `kept:s${n % 100}`, data: text(16_000) } }),
    )
  },
  control() {
    pace(excess * limits.api.requestsPerSecond, (n) => api('disconnect', { user: `mallory${n % 50}` }))
  },
}

const chosen = dimensions.includes('all') ? Object.keys(attacks) : dimensions
for (const dimension of chosen) attacks[dimension]?.()
console.log('attacking')
process.on('SIGTERM', () => {
  console.log(`counts ${JSON.stringify(counts)}`)
  process.exit()
})
