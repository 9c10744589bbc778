// What each kind refers to, read loosely: also of an object that does not pass its schema it must be known whom it concerns.
import { z } from 'zod'
import { credentialSecretName } from '../compile/credential.js'
import { keyOf, type ApiObject } from '../kube/object.js'

const Named = z.looseObject({ name: z.string() })

const Tenant = z.looseObject({
  spec: z.looseObject({
    planRef: Named.optional().catch(undefined),
    hostnames: z.array(z.string()).default([]).catch([]),
    auth: z
      .array(z.looseObject({ keyRef: Named.optional().catch(undefined) }))
      .default([])
      .catch([]),
    credentials: z.looseObject({ secretName: z.string().optional() }).optional().catch(undefined),
  }),
})

const Credential = z.looseObject({
  spec: z.looseObject({
    tenantRef: Named.optional().catch(undefined),
    secretName: z.string().optional().catch(undefined),
    importSecretRef: Named.optional().catch(undefined),
  }),
})

export function planOf(tenant: ApiObject): string[] {
  const name = Tenant.safeParse(tenant).data?.spec.planRef?.name
  return name === undefined ? [] : [name]
}

export function hostnamesOf(tenant: ApiObject): string[] {
  return Tenant.safeParse(tenant).data?.spec.hostnames ?? []
}

/** The Secrets that concern a tenant, as keys: the generated one and those that it reads. */
export function secretsOfTenant(tenant: ApiObject): string[] {
  const spec = Tenant.safeParse(tenant).data?.spec
  const { name, namespace } = tenant.metadata
  const generated = spec?.credentials?.secretName ?? tenantSecretName(name)
  const read = spec?.auth.flatMap(({ keyRef }) => keyRef?.name ?? []) ?? []
  return [...new Set([generated, ...read])].map((secret) => keyOf({ namespace, name: secret }))
}

/** The tenant of a credential, as a key. */
export function tenantOf(credential: ApiObject): string[] {
  const name = Credential.safeParse(credential).data?.spec.tenantRef?.name
  return name === undefined ? [] : [keyOf({ namespace: credential.metadata.namespace, name })]
}

export function secretsOfCredential(credential: ApiObject): string[] {
  const spec = Credential.safeParse(credential).data?.spec
  const { name, namespace } = credential.metadata
  const secret = spec?.importSecretRef?.name ?? spec?.secretName ?? credentialSecretName(name)
  return [keyOf({ namespace, name: secret })]
}

export function namespaceOfObject({ metadata }: ApiObject): string[] {
  return metadata.namespace === undefined ? [] : [metadata.namespace]
}

export function tenantSecretName(tenant: string): string {
  return `${tenant}-credentials`
}
