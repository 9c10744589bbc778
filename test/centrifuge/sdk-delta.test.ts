// The official client requests deltas and applies them: it always has the document that was published.
import { expect, test } from 'vitest'
import {
  annBehindProxy,
  collect,
  connectedAs,
  dataOf,
  gatewayFor,
  next,
  subscribed,
} from '../support/centrifuge-sdk.js'

const delta = { delta: 'fossil' } as const

/** Changes at one place, in characters of one to four bytes that share bytes with each other. */
const versions = ['Привет, мир', 'Привет, мор', 'é', 'è', '中', '丮', '😀', '🙀', '', 'a "quoted"\nline'].map(
  (title, clock) => ({
    players: Array.from({ length: 20 }, (_, id) => ({ id, name: `Игрок ${id}` })),
    title,
    clock,
    rest: 'ж'.repeat(100),
  }),
)

test('each version arrives as it was published, with and without deltas', async () => {
  const gateway = await gatewayFor()
  const [ann, bob] = [await connectedAs(gateway, 'ann'), await connectedAs(gateway, 'bob')]
  const atAnn = dataOf(await subscribed(ann, 'general', delta))
  const atBob = dataOf(await subscribed(bob, 'general'))
  for (const version of versions) await bob.publish('general', version)
  expect(await atAnn.take(versions.length)).toEqual(versions)
  expect(await atBob.take(versions.length)).toEqual(versions)
})

test('a client that subscribes later, or again, starts with a whole document', async () => {
  const gateway = await gatewayFor()
  const [ann, bob, cid] = await Promise.all(['ann', 'bob', 'cid'].map((user) => connectedAs(gateway, user)))
  if (!ann || !bob || !cid) throw new Error('three clients')
  const atAnn = dataOf(await subscribed(ann, 'general', delta))
  await bob.publish('general', versions[0])
  const atCid = dataOf(await subscribed(cid, 'general', delta))
  for (const version of versions.slice(1)) await bob.publish('general', version)
  expect(await atAnn.take(versions.length)).toEqual(versions)
  expect(await atCid.take(versions.length - 1)).toEqual(versions.slice(1))
})

test('missed publications come as deltas too, and live deltas follow', async () => {
  const { ann, bob, proxy } = await annBehindProxy()
  const general = await subscribed(ann, 'general', { ...delta, recoverable: true })
  const atAnn = dataOf(general)
  const errors = collect(general, 'error')
  await bob.publish('general', versions[0])
  await atAnn.next()
  const again = next(general, 'subscribed')
  proxy.refuse()
  for (const version of versions.slice(1, 6)) await bob.publish('general', version)
  proxy.refuse(false)
  expect(await again).toMatchObject({ recovered: true })
  for (const version of versions.slice(6)) await bob.publish('general', version)
  expect(await atAnn.take(versions.length - 1)).toEqual(versions.slice(1))
  expect(errors.waiting).toEqual([])
})
