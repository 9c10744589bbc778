// The findings of a pass over a ChatTenant that its status shows. They are small, because the controller
// keeps them for each tenant until the next pass.
import type { ChatTenantStatus } from '../../resources/status.js'
import type { ApiObject } from '../../kube/object.js'
import type { ManagedSecret } from '../credentials/managed-secret.js'
import type { Verdict } from './conditions.js'

/** The fields of status about the Secret of generated keys. */
export type SecretStatus = Required<Pick<ChatTenantStatus, 'binding' | 'credentials'>>

export interface TenantFindings {
  /** The uid and the generation of the object that the findings are about. */
  readonly uid: string
  readonly generation: number | undefined
  readonly accepted: Verdict
  readonly credentials: Verdict
  /** The plan of an accepted spec. */
  readonly planName: string | undefined
  readonly suspended: boolean
  /** Undefined when there is no Secret of generated keys. */
  readonly secret: SecretStatus | undefined
}

/** Returns the part of the findings that identifies the object. */
export function identityOf({ metadata }: ApiObject): Pick<TenantFindings, 'uid' | 'generation'> {
  return { uid: metadata.uid, generation: metadata.generation }
}

/** Returns the fields of status for a Secret, or undefined when it holds no keys. */
export function secretStatusOf({ generated, secret }: ManagedSecret): SecretStatus | undefined {
  if (!secret || !generated) return undefined
  const { keys, nextRotationMs } = generated
  const newestFirst = keys.toSorted((a, b) => b.createdAtMs - a.createdAtMs)
  return {
    binding: { name: secret.metadata.name },
    credentials: {
      activeKeyIDs: [
        ...newestFirst.map(({ id }) => id),
        ...newestFirst.flatMap(({ previous }) => previous?.id ?? []),
      ],
      ...(nextRotationMs !== undefined && { nextRotation: new Date(nextRotationMs).toISOString() }),
      secretResourceVersion: secret.metadata.resourceVersion,
    },
  }
}
