// A process with a crowd in it: one command a line, one answer a line. Apart from the servers, so that their CPU time is theirs alone.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { mintToken } from '../../dist/auth/mint.js'
import { CentrifugeLanguage } from '../../dist/load/centrifuge-language.js'
import { Crowd } from '../../dist/load/crowd.js'
import { floorLanguage, socketIoLanguage } from './languages.mjs'
import { cpuSecondsOf, rssBytesOf } from './usage.mjs'

/** @typedef {import('./orders.js').Visit} Visit */
/** @typedef {import('./orders.js').Order} Order */

/** Ports of one address are soon used up: so many connections each. The first is left to the kernel, which finds a port faster that way. */
const connectionsPerAddress = 20_000

/** @type {Crowd | undefined} */
let crowd
/** @type {string[]} */
let published = []
/** @type {CentrifugeLanguage | undefined} */
let parley

/** @param {Visit} visit */
async function parleyLanguage({ issuer, publishers, subscribers, tenants }) {
  /** @type {string[]} */
  const tokens = []
  for (let index = 0; index < subscribers + publishers; index += 1)
    tokens.push(await mintToken(issuer, { user: `u${index}`, expiresInS: 86_400, nowMs: Date.now() }))
  return new CentrifugeLanguage({
    path: ({ index }) => `/bench/t${index % tenants}`,
    token: ({ index }) => tokens[index] ?? '',
  })
}

/** @param {Extract<Order, { do: 'come' }>} visit */
async function languageFor(visit) {
  if (visit.language === 'ws') return floorLanguage()
  if (visit.language === 'socket.io') return socketIoLanguage()
  if (parley) parley.returning = visit.returning
  else parley = await parleyLanguage(visit)
  return parley
}

/** @param {Extract<Order, { do: 'come' }>} visit */
async function come(visit) {
  const { arrivingMax, channelPrefix, channels, channelsEach, publishers, subscribers, url } = visit
  published = Array.from({ length: channels }, (_, number) => `${channelPrefix}${number}`)
  crowd = new Crowd({
    url: new URL(url),
    language: await languageFor(visit),
    subscribers,
    publishers,
    arrivingMax,
    channelsOf: (index) =>
      Array.from(
        { length: channelsEach },
        (_, nth) => published[(index * channelsEach + nth) % channels] ?? '',
      ),
    localAddressOf: (index) =>
      index < connectionsPerAddress ? undefined : `127.0.0.${1 + Math.floor(index / connectionsPerAddress)}`,
  })
  const before = parley?.recovered ?? 0
  const arrival = await measured(visit, () => /** @type {Crowd} */ (crowd).come())
  return { ...arrival, recovered: (parley?.recovered ?? 0) - before }
}

/**
 * What others used meanwhile, and this process itself: it must not be what holds the others up.
 * @template Result
 * @param {{ server: readonly number[], redis: readonly number[] }} pids
 * @param {() => Promise<Result>} work
 */
async function measured({ redis, server }, work) {
  const all = [server, redis, [process.pid]]
  const before = all.map(cpuSecondsOf)
  const startedMs = performance.now()
  const result = await work()
  const wallSeconds = (performance.now() - startedMs) / 1000
  const [serverCpu = 0, redisCpu = 0, loadCpu = 0] = all.map(
    (pids, at) => cpuSecondsOf(pids) - (before[at] ?? 0),
  )
  return {
    ...result,
    wallSeconds,
    cpuSeconds: { server: serverCpu, redis: redisCpu, load: loadCpu },
    rssBytes: { server: rssBytesOf(server), redis: rssBytesOf(redis) },
  }
}

/** @param {Order} order */
async function carryOut(order) {
  switch (order.do) {
    case 'come':
      return come(order)
    case 'run': {
      const present = crowd
      if (!present) throw new Error('nobody has come')
      return measured(order, () => present.run({ ...order, channels: published }))
    }
    case 'idle':
      return measured(order, async () => {
        await sleep(order.seconds * 1000)
        return { present: crowd?.size ?? 0, failures: crowd?.failures ?? {} }
      })
    case 'vanish':
      crowd?.vanish()
      return {}
  }
}

for await (const line of createInterface({ input: process.stdin }))
  console.log(`answer ${JSON.stringify(await carryOut(JSON.parse(line)))}`)
process.exit()
