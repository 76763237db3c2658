/** A list as a table, and what stands in its place while it comes, when it failed, and when there is nothing in it. */

import type { ReactNode } from "react";
import { Failed, Loading } from "./states.tsx";

export interface Column<T> {
  readonly head: string;
  readonly render: (item: T) => ReactNode;
  /** What stands in it says by itself what it is: the head is for readers alone. */
  readonly bare?: boolean;
  /** `tight`: never broken. `end`: on the right. `mono`: as machines write it. */
  readonly look?: string;
}

interface Asked {
  readonly isPending: boolean;
  readonly isError: boolean;
  readonly error: unknown;
  readonly data: unknown;
  refetch(): unknown;
}

/** `items` are those of the query that are to be shown; `empty` says why there are none. A list that is there stays when it
 * could not be had anew. */
export function Listed({
  query,
  items,
  empty,
  children,
}: {
  query: Asked;
  items: readonly unknown[];
  empty: ReactNode;
  children: ReactNode;
}) {
  if (query.isPending) return <Loading />;
  if (query.isError && query.data === undefined)
    return <Failed error={query.error} retry={() => void query.refetch()} />;
  return items.length === 0 ? empty : children;
}

export function Table<T>({
  columns,
  items,
  keyOf,
  caption,
  chosen,
  title,
}: {
  columns: readonly Column<T>[];
  items: readonly T[];
  keyOf: (item: T) => string | number;
  caption?: ReactNode;
  chosen?: (item: T) => boolean;
  title?: (item: T) => string;
}) {
  return (
    <table className="list">
      {caption !== undefined && <caption>{caption}</caption>}
      <thead className={columns.every((column) => column.bare) ? "sr" : ""}>
        <tr>
          {columns.map((column) => (
            <th key={column.head} scope="col" className={column.look === "end" ? "end" : ""}>
              {column.bare ? <span className="sr">{column.head}</span> : column.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {items.map((item) => (
          <tr key={keyOf(item)} className={chosen?.(item) ? "chosen" : ""} title={title?.(item)}>
            {columns.map((column) => (
              <td key={column.head} className={column.look ?? ""}>
                {column.render(item)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
