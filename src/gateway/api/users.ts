// What a backend may have done about users, on whatever gateway they are.
import type { z } from 'zod'
import { CommandError } from '../../errors.js'
import { closeCodes } from '../../protocol/codes.js'
import type { Fields } from '../../protocol/fields.js'
import { jsonOf } from './raw-payload.js'
import { channelOf, type ApiCall } from './method.js'
import type { Disconnect, Refresh, Subscribe, Unsubscribe } from './schema.js'
import type { Connections } from '../fleet/control-messages.js'

/** Whom rules deny it, and who has as many subscriptions as allowed, is left out: that is known where they are connected. */
export async function subscribe(call: ApiCall, fields: z.infer<typeof Subscribe>): Promise<Fields> {
  const channel = channelOf(call, fields.channel)
  call.caller.require('Subscribe', channel)
  const { expire_at: expireAt, recover_since: since } = fields
  const data = shown(call, 'data', fields.b64data)
  await call.gateway.orders.subscribe(call.tenant, connectionsOf(fields), {
    channel,
    ...(data !== undefined && { data }),
    ...(expireAt && { expiresAtMs: expireAt * 1000 }),
    ...(since && { since: { epoch: since.epoch ?? '', offset: since.offset ?? 0 } }),
  })
  return {}
}

export async function unsubscribe(call: ApiCall, fields: z.infer<typeof Unsubscribe>): Promise<Fields> {
  const channel = channelOf(call, fields.channel)
  call.caller.require('Subscribe', channel)
  await call.gateway.orders.unsubscribe(call.tenant, connectionsOf(fields), channel)
  return {}
}

export async function disconnect(call: ApiCall, fields: z.infer<typeof Disconnect>): Promise<Fields> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const { code: given, reason } = fields.disconnect ?? {}
  const code = given || closeCodes.forceDisconnect.code
  await call.gateway.orders.disconnect(
    call.tenant,
    { ...connectionsOf(fields), ...(fields.whitelist && { except: fields.whitelist }) },
    { code, reason: reason || (given ? '' : closeCodes.forceDisconnect.reason) },
  )
  return {}
}

export async function refresh(call: ApiCall, fields: z.infer<typeof Refresh>): Promise<Fields> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const info = shown(call, 'info')
  await call.gateway.orders.refresh(call.tenant, connectionsOf(fields), {
    expired: fields.expired ?? false,
    ...(fields.expire_at && { expiresAtMs: fields.expire_at * 1000 }),
    ...(info !== undefined && { info }),
  })
  return {}
}

/** JSON text that clients get to see; undefined: none came. */
function shown(call: ApiCall, field: string, base64?: string | null): string | undefined {
  const json = jsonOf(call.text, field, base64)
  const { maxBytes } = call.tenant.policy.limits.messages
  if (json !== undefined && Buffer.byteLength(json) > maxBytes)
    throw new CommandError('BAD_REQUEST', `${field}: it is longer than a message may be (${maxBytes} bytes)`)
  return json
}

function connectionsOf(fields: {
  user: string
  client?: string | null | undefined
  session?: string | null | undefined
}): Connections {
  const { client, session, user } = fields
  return { user, ...(client && { client }), ...(session && { session }) }
}
