// Generates the CustomResourceDefinitions of all kinds from the zod schemas. The API server validates,
// defaults, prunes, prints and explains resources by them.
import { z } from 'zod'
import { celRules, type CelRule } from './cel.js'
import { ChatCredentialSpec } from './chat-credential.js'
import { ChatPlanSpec } from './chat-plan.js'
import { ChatCredentialStatus, ChatPlanStatus, ChatTenantStatus } from './status.js'
import { ChatTenantSpec } from './chat-tenant.js'
import { apiVersion, Label } from './common.js'

type Schema = z.core.JSONSchema.BaseSchema

interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description?: string
  /** 1: the column is shown only with `-o wide`. */
  readonly priority?: 1
}

interface Kind {
  readonly names: { readonly kind: string; readonly plural: string; readonly shortNames: readonly string[] }
  readonly scope: 'Cluster' | 'Namespaced'
  readonly description: string
  readonly spec: z.ZodType
  readonly status: z.ZodType
  readonly columns: readonly Column[]
  /** The fields that `--field-selector` accepts. */
  readonly selectable: readonly string[]
  /** Whether the kind has a `status.binding` for the Service Binding specification. */
  readonly bindable: boolean
}

const condition = (type: string): string => `.status.conditions[?(@.type=="${type}")]`
const age: Column = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }
const ready: Column = { name: 'Ready', type: 'string', jsonPath: `${condition('Ready')}.status` }
const reason: Column = {
  name: 'Reason',
  type: 'string',
  jsonPath: `${condition('Ready')}.reason`,
  priority: 1,
}

const kinds: readonly Kind[] = [
  {
    names: { kind: 'ChatPlan', plural: 'chatplans', shortNames: ['cplan'] },
    scope: 'Cluster',
    description:
      'A plan is the set of limits that a platform team offers to tenants, with the namespaces that ' +
      'may use it.',
    spec: ChatPlanSpec,
    status: ChatPlanStatus,
    columns: [
      { name: 'Connections', type: 'integer', jsonPath: '.spec.limits.connections.max' },
      { name: 'Publish/s', type: 'integer', jsonPath: '.spec.limits.messages.publishPerSecond' },
      { name: 'Tenants', type: 'integer', jsonPath: '.status.tenants' },
      { name: 'Enforcement', type: 'string', jsonPath: '.spec.enforcement' },
      ready,
      { name: 'Namespaces', type: 'string', jsonPath: '.spec.allowedNamespaces.from', priority: 1 },
      { name: 'Allocated', type: 'integer', jsonPath: '.status.allocated.connections', priority: 1 },
      reason,
      age,
    ],
    selectable: [],
    bindable: false,
  },
  {
    names: { kind: 'ChatTenant', plural: 'chattenants', shortNames: ['ct'] },
    scope: 'Namespaced',
    description: 'A tenant is one isolated customer: its own users, channels, limits and keys.',
    spec: ChatTenantSpec,
    status: ChatTenantStatus,
    columns: [
      { name: 'Plan', type: 'string', jsonPath: '.spec.planRef.name' },
      ready,
      { name: 'Connections', type: 'integer', jsonPath: '.status.usage.connections' },
      { name: 'Limit', type: 'integer', jsonPath: '.status.effective.limits.connections.max' },
      { name: 'Programmed', type: 'string', jsonPath: `${condition('Programmed')}.status`, priority: 1 },
      reason,
      { name: 'Endpoint', type: 'string', jsonPath: '.status.endpoints[0].url', priority: 1 },
      { name: 'TenantID', type: 'string', jsonPath: '.status.tenantID', priority: 1 },
      age,
    ],
    selectable: ['.spec.planRef.name'],
    bindable: true,
  },
  {
    names: { kind: 'ChatCredential', plural: 'chatcredentials', shortNames: ['cc'] },
    scope: 'Namespaced',
    description: 'A credential is a named API key for one backend of a tenant.',
    spec: ChatCredentialSpec,
    status: ChatCredentialStatus,
    columns: [
      { name: 'Tenant', type: 'string', jsonPath: '.spec.tenantRef.name' },
      { name: 'Role', type: 'string', jsonPath: '.spec.role' },
      ready,
      { name: 'Expires', type: 'string', jsonPath: '.status.expiresAt' },
      reason,
      { name: 'KeyID', type: 'string', jsonPath: '.status.keyID', priority: 1 },
      { name: 'Secret', type: 'string', jsonPath: '.status.binding.name', priority: 1 },
      { name: 'Last-Used', type: 'date', jsonPath: '.status.lastUsed', priority: 1 },
      age,
    ],
    selectable: ['.spec.tenantRef.name'],
    bindable: true,
  },
]

/** A definition in the form of `apiextensions.k8s.io/v1`. `file` is its file name in manifests/crds. */
export interface CustomResourceDefinition {
  readonly file: string
  readonly kind: string
  readonly schema: Schema
  readonly columns: readonly Column[]
  /** The complete object, ready to be applied. */
  readonly manifest: object
}

const [group = '', version = ''] = apiVersion.split('/')

/** Returns the definitions of ChatPlan, ChatTenant and ChatCredential. */
export function customResourceDefinitions(): CustomResourceDefinition[] {
  return kinds.map((kind) => {
    const { bindable, columns, names, scope, selectable } = kind
    const schema = openApiOf(kind)
    const manifest = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: {
        name: `${names.plural}.${group}`,
        labels: {
          'app.kubernetes.io/part-of': 'parley',
          ...(bindable && { 'servicebinding.io/provisioned-service': 'true' }),
        },
      },
      spec: {
        group,
        scope,
        names: {
          ...names,
          singular: names.kind.toLowerCase(),
          listKind: `${names.kind}List`,
          categories: ['parley'],
        },
        versions: [
          {
            name: version,
            served: true,
            storage: true,
            schema: { openAPIV3Schema: schema },
            subresources: { status: {} },
            additionalPrinterColumns: columns,
            ...(selectable.length > 0 && {
              selectableFields: selectable.map((jsonPath) => ({ jsonPath })),
            }),
          },
        ],
      },
    }
    return { file: `${group}_${names.plural}.yaml`, kind: names.kind, schema, columns, manifest }
  })
}

function openApiOf({ description, names, spec, status }: Kind): Schema {
  return {
    description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: `The version of this schema: ${apiVersion}.` },
      kind: { type: 'string', description: `The kind of the object: ${names.kind}.` },
      // The API server defines and describes all other metadata.
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: 63 } } },
      spec: { ...structural(spec), description: 'The desired state.' },
      status: {
        ...structural(status),
        description: 'The observed state. Only the controller writes it.',
      },
    },
    ...celRules([nameRule]),
  }
}

/** Kubernetes would allow dots. The names are parts of URLs, and of references that do not allow dots. */
const nameRule: CelRule = {
  rule: `self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')`,
  message: labelMessage(),
  fieldPath: '.metadata.name',
}

/** Returns the message of the zod check. */
function labelMessage(): string {
  return Label.safeParse('A').error?.issues[0]?.message ?? ''
}

function structural(schema: z.ZodType): Schema {
  return z.toJSONSchema(schema, {
    io: 'input',
    target: 'openapi-3.0',
    reused: 'inline',
    override: ({ jsonSchema }) => {
      // Structural schemas cannot forbid unknown fields: strict field validation refuses them, or they are
      // pruned.
      if (jsonSchema.properties) delete jsonSchema.additionalProperties
      // An absent list and an empty list mean the same. A stored default would only make the YAML longer.
      if (Array.isArray(jsonSchema.default) && jsonSchema.default.length === 0) delete jsonSchema.default
    },
  })
}
