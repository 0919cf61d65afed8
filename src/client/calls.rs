//! The calls of the API: one table, and the methods that are made of it.

use super::retry::new_request_id;
use super::{Client, ClientError, Lane, Retrying, proto};

/// Makes of each row a method of [`Client`], which sends the call once, on the connection whose
/// turn it is, and one of [`Retrying`]. The row's first word says how that repeats it.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $repeated:ident $service:ident.$name:ident($request:ident) -> $response:ident
        $(, $names_it:literal)?;
    )*) => {
        impl Client {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// Those of the API, and those of the way to it. Sent once; see [`Client::retrying`].
            pub async fn $name(
                &self,
                request: proto::$request,
            ) -> Result<proto::$response, ClientError> {
                self.lane().$name(request).await
            }
        )*}

        impl Lane {$(
            pub(super) async fn $name(
                &self,
                request: proto::$request,
            ) -> Result<proto::$response, ClientError> {
                // tonic wants its client `&mut` for one call at a time; a clone is a few counters.
                let mut service = self.$service.clone();
                Ok(service.$name(request).await?.into_inner())
            }
        )*}

        impl Retrying {$(
            repeated! { $repeated $name($request) -> $response $(, $names_it)? }
        )*}
    };
}

macro_rules! repeated {
    // Needs no key: it reads, or twice is as good as once.
    (plain $name:ident($request:ident) -> $response:ident) => {
        #[doc = concat!("[`Client::", stringify!($name), "`], repeated.")]
        ///
        /// # Errors
        /// Those of the call, or the last of the attempts failed.
        pub async fn $name(
            &self,
            request: &proto::$request,
        ) -> Result<proto::$response, ClientError> {
            self.repeat(|lane| {
                let request = request.clone();
                async move { lane.$name(request).await }
            })
            .await
        }
    };
    // A write with a `request_id`, and what of its answer names that.
    (keyed $name:ident($request:ident) -> $response:ident, $names_it:literal) => {
        #[doc = concat!(
            "[`Client::", stringify!($name), "`], repeated. Without a `request_id` it gets one, ",
            "the same for each attempt; ", $names_it, " that comes back names it."
        )]
        ///
        /// # Errors
        /// It cannot be done, or the last of the attempts failed.
        /// [`ClientError::request_id`] is what it was sent with.
        pub async fn $name(
            &self,
            request: &proto::$request,
        ) -> Result<proto::$response, ClientError> {
            let mut request = request.clone();
            if request.request_id.is_empty() {
                request.request_id = new_request_id();
            }
            self.repeat(|lane| {
                let request = request.clone();
                async move { lane.$name(request).await }
            })
            .await
            .map_err(|error| error.of_request(&request.request_id))
        }
    };
    // In a way of its own, which `retry` has.
    (special $name:ident($request:ident) -> $response:ident) => {};
}

calls! {
    /// Takes every line of an order from stock, or none of them.
    keyed orders.create_order(CreateOrderRequest) -> CreateOrderResponse, "the order";
    /// Takes what a pending order holds.
    keyed orders.confirm_order(ConfirmOrderRequest) -> ConfirmOrderResponse, "an error";
    /// Takes an order back.
    keyed orders.cancel_order(CancelOrderRequest) -> CancelOrderResponse, "an error";
    /// Lets a pending order hold for longer.
    keyed orders.extend_hold(ExtendHoldRequest) -> ExtendHoldResponse, "an error";
    /// Reads one order.
    plain orders.get_order(GetOrderRequest) -> GetOrderResponse;
    /// Reads one page of the orders that fit a filter.
    plain orders.list_orders(ListOrdersRequest) -> ListOrdersResponse;
    /// Creates or replaces products.
    plain inventory.put_products(PutProductsRequest) -> PutProductsResponse;
    /// Deletes a product that has no stock.
    special inventory.delete_product(DeleteProductRequest) -> DeleteProductResponse;
    /// Reads one product.
    plain inventory.get_product(GetProductRequest) -> GetProductResponse;
    /// Reads one page of the products.
    plain inventory.list_products(ListProductsRequest) -> ListProductsResponse;
    /// Changes `on_hand` of one level for a reason other than an order.
    keyed inventory.adjust_stock(AdjustStockRequest) -> AdjustStockResponse, "the movement";
    /// Makes up to 500 adjustments, all of them or none.
    keyed inventory.batch_adjust_stock(BatchAdjustStockRequest) -> BatchAdjustStockResponse,
        "each movement";
    /// Sets `on_hand` of one level to what was counted, unless it has changed since.
    keyed inventory.count_stock(CountStockRequest) -> CountStockResponse, "the movement";
    /// Moves units from one location to another.
    keyed inventory.transfer_stock(TransferStockRequest) -> TransferStockResponse, "each movement";
    /// Reads one level.
    plain inventory.get_stock(GetStockRequest) -> GetStockResponse;
    /// Reads up to 1,000 levels.
    plain inventory.batch_get_stock(BatchGetStockRequest) -> BatchGetStockResponse;
    /// Reads one page of the levels that exist.
    plain inventory.list_stock(ListStockRequest) -> ListStockResponse;
    /// Reads one page of the movements of a level, of an order, or of all levels by time.
    plain inventory.list_movements(ListMovementsRequest) -> ListMovementsResponse;
}
