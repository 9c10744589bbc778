// The baseline for publishing: a loop over ioredis. One pipeline holds XADD for each publish in progress and
// one WAIT, the next one PUBLISH.
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { cpuSecondsOf } from './usage.mjs'

const [, , port, payloadBytes] = process.argv.map(Number)
const writer = new Redis(port ?? 0, '127.0.0.1')
const publisher = new Redis(port ?? 0, '127.0.0.1')
const payload = 'x'.repeat(payloadBytes ?? 0)
const channels = Array.from({ length: 10 }, (_, index) => `baseline:${index}`)

// Each line of the input is a command: the number of publishes in progress at the same time, the duration,
// and the number of replicas that must confirm.
for await (const line of createInterface({ input: process.stdin })) {
  const { inFlight, replicas, seconds } = JSON.parse(line)
  const startedMs = performance.now()
  const cpuSeconds = cpuSecondsOf([process.pid])
  let published = 0
  /** @type {Promise<unknown>} */
  let announced = Promise.resolve()
  while (performance.now() - startedMs < seconds * 1000) {
    const group = writer.pipeline()
    for (let index = 0; index < inFlight; index += 1)
      group.xadd(channels[index % 10] ?? '', 'MAXLEN', '~', 1000, '*', 'e', payload)
    if (replicas > 0) group.call('WAIT', replicas, 1000)
    const replies = (await group.exec()) ?? []
    if (replicas > 0 && Number(replies.at(-1)?.[1]) < replicas) throw new Error('A replica did not confirm')
    await announced
    const announcements = publisher.pipeline()
    for (let index = 0; index < inFlight; index += 1)
      announcements.publish(channels[index % 10] ?? '', payload)
    announced = announcements.exec()
    published += inFlight
  }
  await announced
  const wallSeconds = (performance.now() - startedMs) / 1000
  console.log(
    JSON.stringify({ published, seconds: wallSeconds, cpuSeconds: cpuSecondsOf([process.pid]) - cpuSeconds }),
  )
}
process.exit()
