// The clients of the scenario "strangers": `strangers.mjs KIND PORT`, where KIND is an attack, or `probe` for
// the well-behaved client. They are processes of their own, so that an attack does not delay what the probe
// measures. An attack comes from 127.0.0.66 and ends with its process.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'

const [kind = '', port = '', ...rest] = process.argv.slice(2)
const packetBytes = 65_536
const localAddress = '127.0.0.66'

/**
 * Opens a socket, and another one whenever it is closed.
 * @param {(socket: import('node:net').Socket) => void} use
 * @param {number} [reopenMs]
 */
function keepOpen(use, reopenMs = 200) {
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  socket.on('connect', () => use(socket))
  socket.on('close', () => setTimeout(() => keepOpen(use, reopenMs), reopenMs))
}

/**
 * Writes packets full of the request as fast as the gateway takes them, and reads nothing.
 * @param {string} path
 */
function pipeline(path) {
  const request = `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  const packet = Buffer.from(request.repeat(Math.ceil(packetBytes / request.length)))
  keepOpen((socket) => {
    socket.pause()
    const write = () => {
      while (socket.write(packet));
    }
    socket.on('drain', write)
    write()
  })
}

/**
 * Sends requests over `sockets` connections, together `perSecond`.
 * @param {{ request: string, sockets: number, perSecond: number }} options
 */
function flood({ perSecond, request, sockets }) {
  for (let n = 0; n < sockets; n += 1)
    keepOpen((socket) => {
      socket.resume()
      const timer = setInterval(() => socket.write(request.repeat(perSecond / sockets / 100)), 10)
      socket.on('close', () => clearInterval(timer))
    })
}

const upgrade = `GET /bench/t0/connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** @type {Record<string, () => void>} */
const attacks = {
  documents: () => Array.from({ length: 40 }, () => pipeline('/api/openapi.json')),
  pipeline: () => pipeline('/nothing'),
  gets: () =>
    flood({ request: 'GET /bench/t0/ws HTTP/1.1\r\nHost: a\r\n\r\n', sockets: 90, perSecond: 9_000 }),
  sockets: () => Array.from({ length: 6_000 }, () => keepOpen(() => {}, 2_000)),
  handshakes: () =>
    Array.from({ length: 50 }, () => keepOpen((socket) => void socket.resume().write(upgrade))),
}

/** @param {number[]} sorted @param {number} part */
const quantile = (sorted, part) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN

/**
 * Publishes 50 messages per second and times their way back, and connects 12 times per second, for some
 * seconds. Prints a line of JSON.
 */
async function probe() {
  const [token = '', seconds = '10'] = rest
  const endpoint = `ws://127.0.0.1:${port}/bench/t1/connection/websocket`
  const open = async () => {
    const socket = new WebSocket(endpoint)
    socket.on('error', () => {})
    await Promise.race([
      once(socket, 'open'),
      once(socket, 'close').then(() => Promise.reject(new Error('closed'))),
    ])
    socket.send(JSON.stringify({ id: 1, connect: { token } }))
    await once(socket, 'message')
    return socket
  }
  const socket = await open()
  /** @type {number[]} */
  const latencies = []
  socket.on('message', (/** @type {Buffer} */ bytes) => {
    for (const line of bytes.toString().split('\n')) {
      const sentMs = JSON.parse(line).push?.pub?.data?.sentMs
      if (sentMs !== undefined) latencies.push(performance.now() - sentMs)
    }
  })
  socket.send(JSON.stringify({ id: 2, subscribe: { channel: 'ephemeral:b' } }))
  await sleep(500)
  let id = 2
  const publishes = setInterval(() => {
    id += 1
    socket.send(
      JSON.stringify({ id, publish: { channel: 'ephemeral:b', data: { sentMs: performance.now() } } }),
    )
  }, 20)
  let [connected, refused] = [0, 0]
  const connects = setInterval(() => {
    open().then(
      (opened) => {
        connected += 1
        opened.terminate()
      },
      () => (refused += 1),
    )
  }, 1_000 / 12)
  await sleep(Number(seconds) * 1_000)
  clearInterval(publishes)
  clearInterval(connects)
  await sleep(1_000)
  const sorted = latencies.toSorted((a, b) => a - b)
  const lost = id - 2 - latencies.length
  console.log(
    `probe ${JSON.stringify({ p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), connected, refused, lost })}`,
  )
  process.exit(0)
}

if (kind === 'probe') await probe()
else attacks[kind]?.()
