// What a method of the server API is, whichever it is.
import type { z } from 'zod'
import type { CommandError } from '../../errors.js'
import type { Fields } from '../../protocol/fields.js'
import { schemaRefusal } from '../../protocol/schema-refusal.js'
import type { ChannelRef } from '../../broker/broker.js'
import type { TenantState } from '../../session/tenant/runtime.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import type { ApiCaller } from './caller.js'
import type { Gateway } from '../gateway.js'

/** One method asked for, by a caller that has been let in. */
export interface ApiCall {
  readonly gateway: Gateway
  readonly tenant: TenantState
  readonly caller: ApiCaller
  /** The request as it came: messages are cut out of it, byte for byte. */
  readonly text: string
  /** What an error is to the caller. A fault of our own is in the log, a refusal is counted. */
  refuse(error: unknown): CommandError
}

export interface ApiMethod {
  readonly about: string
  readonly request: z.ZodType
  readonly result: z.ZodType
  /** Resolves to the result. Rejects with CommandError; what else it rejects with is a bug. */
  run(call: ApiCall, fields: unknown): Promise<Fields>
}

export function apiMethod<Asked>(method: {
  about: string
  request: z.ZodType<Asked>
  result: z.ZodType
  run: (call: ApiCall, fields: Asked) => Promise<Fields>
}): ApiMethod {
  return {
    ...method,
    async run(call, value) {
      const parsed = method.request.safeParse(value)
      if (!parsed.success) throw schemaRefusal(parsed.error, value)
      return method.run(call, parsed.data)
    },
  }
}

/** Throws INVALID_CHANNEL. */
export function channelOf({ tenant }: ApiCall, name: string): ChannelName {
  return parseChannelName(name, { maxLength: tenant.policy.limits.channels.nameMaxLength })
}

export function refOf({ tenant }: ApiCall, channel: ChannelName): ChannelRef {
  return { tenantId: tenant.policy.tenantId, channel }
}
