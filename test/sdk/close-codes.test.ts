// How each client reacts to every close code and unsubscribe code: it reconnects, or it stays disconnected.
import { describe, expect, test } from 'vitest'
import { unsubscribeCodes } from '../../src/protocol/codes.js'
import { centrifugeUrl } from '../support/centrifuge-sdk.js'
import { finalCloses, onlySession, temporaryCloses } from '../support/ends.js'
import { everywhere, type BrokerKind } from './brokers.js'
import type { SdkClient } from './clients.js'
import { Driver } from './driver.js'

async function annInGeneral(client: SdkClient & BrokerKind) {
  const { here } = await client.start()
  const ann = await Driver.start(client).connected(centrifugeUrl(here), { token: await here.token('ann') })
  await ann.subscribed('general', { recoverable: true })
  return { ann, session: onlySession(here) }
}

describe.each(everywhere)('$name on $broker', (client) => {
  test.each(temporaryCloses)('$code $reason: reconnects and subscribes again', async (close) => {
    const { ann, session } = await annInGeneral(client)
    session.close(close)
    expect(await ann.next('connecting', ({ code }) => code !== 0)).toMatchObject(close)
    expect(await ann.next('subscribed')).toMatchObject({ wasRecovering: true, recovered: true })
    await ann.publish('general', 'here')
    expect(await ann.data(1)).toEqual(['here'])
  })

  test.each(finalCloses)('$code $reason: final', async (close) => {
    const { ann, session } = await annInGeneral(client)
    session.close(close)
    expect(await ann.next('disconnected')).toMatchObject(close)
    // This is the first connect. A client that reconnected would report a second one.
    expect(ann.waiting('connecting')).toMatchObject([{ code: 0 }])
  })

  test.each(Object.values(unsubscribeCodes).filter(({ code }) => code < 2500))(
    'unsubscribed with $code $reason: final',
    async (end) => {
      const { ann, session } = await annInGeneral(client)
      for (const subscription of session.subscriptions.values()) session.endSubscription(subscription, end)
      expect(await ann.next('unsubscribed')).toMatchObject(end)
    },
  )

  test.each(Object.values(unsubscribeCodes).filter(({ code }) => code >= 2500))(
    'unsubscribed with $code $reason: subscribes again',
    async (end) => {
      const { ann, session } = await annInGeneral(client)
      for (const subscription of session.subscriptions.values()) session.endSubscription(subscription, end)
      expect(await ann.next('subscribing', ({ code }) => code !== 0)).toMatchObject(end)
      await ann.next('subscribed')
    },
  )
})
