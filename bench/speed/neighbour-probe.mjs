// The well-behaved neighbour: measures how long its messages take to another of its clients, and its
// connects. Each line of the input is a command, and it answers each with one line.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { mintToken } from '../../dist/auth/mint.js'

/** @typedef {import('./neighbours.js').ProbeTarget} ProbeTarget */
/** @typedef {import('../../dist/tenant/policy.js').Issuer} Issuer */

const [publishEveryMs, connectEveryMs, drainMs] = [25, 200, 5_000]
const channel = 'kept:neighbour'

/** @param {readonly number[]} values @param {number} part */
const quantile = (values, part) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0

/** @param {ProbeTarget} target @param {string} token @param {boolean} subscribes */
async function open({ kind, url }, token, subscribes) {
  if (kind === 'echo') {
    const socket = new WebSocket(`${url}/${subscribes ? '?channel=a' : ''}`)
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    return socket
  }
  const socket = new WebSocket(`${url}/bench/b/connection/websocket`)
  await new Promise((resolve, reject) => {
    socket.once('error', reject).once('close', (code) => reject(new Error(`closed with ${code}`)))
    socket.once('open', () => {
      socket.send(JSON.stringify({ id: 1, connect: { token } }))
      if (subscribes) socket.send(JSON.stringify({ id: 2, subscribe: { channel } }))
    })
    socket.on('message', (/** @type {Buffer} */ data) => {
      const text = data.toString()
      if (text === '{}') return socket.send('{}')
      if (text.includes('"error"')) reject(new Error(text))
      if (text.includes(subscribes ? '"id":2' : '"id":1')) resolve(undefined)
    })
  })
  return socket
}

/** One pair of clients of one server. */
class Pair {
  /** @type {Map<number, number>} */
  sent = new Map()
  /** @type {number[]} */
  latencies = []
  /** @type {number[]} */
  connects = []
  refused = 0
  lost = 0
  closes = 0
  next = 1_000

  /** @param {ProbeTarget} target @param {string} token */
  constructor(target, token) {
    this.target = target
    this.token = token
  }

  async start() {
    this.receiver = await open(this.target, this.token, true)
    this.sender = await open(this.target, this.token, false)
    this.receiver.on('message', (/** @type {Buffer} */ data) => {
      const number = Number(/message-(\d+)/.exec(data.toString())?.[1])
      const sentMs = this.sent.get(number)
      if (sentMs === undefined) return
      this.sent.delete(number)
      this.latencies.push(performance.now() - sentMs)
    })
    this.sender.on('message', (/** @type {Buffer} */ data) => {
      if (data.toString().includes('"error"')) this.refused += 1
    })
    for (const socket of [this.receiver, this.sender])
      socket.on('close', () => {
        this.closes += 1
      })
  }

  publish() {
    const number = this.next
    this.next += 1
    this.sent.set(number, performance.now())
    this.sender?.send(
      this.target.kind === 'echo'
        ? `a message-${number}`
        : JSON.stringify({ id: number, publish: { channel, data: `message-${number}` } }),
    )
  }

  async connect() {
    const startedMs = performance.now()
    try {
      const socket = await open(this.target, this.token, false)
      this.connects.push(performance.now() - startedMs)
      socket.terminate()
    } catch {
      this.refused += 1
    }
  }

  /** Returns the figures since the last call. */
  async report() {
    for (let waitedMs = 0; this.sent.size > 0 && waitedMs < drainMs; waitedMs += 20) await sleep(20)
    this.lost += this.sent.size
    const { closes, connects, latencies, lost, refused } = this
    Object.assign(this, { latencies: [], connects: [], refused: 0, lost: 0, closes: 0 })
    this.sent.clear()
    return {
      name: this.target.name,
      messages: latencies.length,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      max: Math.max(0, ...latencies),
      connectP50: quantile(connects, 0.5),
      connectP99: quantile(connects, 0.99),
      refused,
      lost,
      closes,
    }
  }
}

/** @type {Pair[]} */
let pairs = []

/** @param {number} seconds */
async function measure(seconds) {
  const connecting = new Set()
  const endMs = performance.now() + seconds * 1000
  // The servers take turns, so that their messages do not wait for one another in this process.
  const publish = setInterval(() => {
    pairs.forEach((pair, index) => setTimeout(() => pair.publish(), (index * publishEveryMs) / pairs.length))
  }, publishEveryMs)
  const connect = setInterval(() => {
    pairs.forEach((pair, index) =>
      setTimeout(
        () => {
          const attempt = pair.connect().finally(() => connecting.delete(attempt))
          connecting.add(attempt)
        },
        (index * connectEveryMs) / pairs.length,
      ),
    )
  }, connectEveryMs)
  await sleep(endMs - performance.now())
  clearInterval(publish)
  clearInterval(connect)
  await sleep(connectEveryMs)
  await Promise.race([Promise.all(connecting), sleep(drainMs)])
  return Promise.all(pairs.map((pair) => pair.report()))
}

/** @param {import('./neighbours.js').ProbeCommand} command */
async function execute(command) {
  if (command.kind === 'measure') return measure(command.seconds)
  const token = await mintToken(command.issuer, { user: 'bob', expiresInS: 86_400, nowMs: Date.now() })
  pairs = command.targets.map((target) => new Pair(target, token))
  for (const pair of pairs) await pair.start()
  return {}
}

for await (const line of createInterface({ input: process.stdin }))
  console.log(`reply ${JSON.stringify(await execute(JSON.parse(line)))}`)
process.exit()
