-- One database for each service that keeps state; none opens another's.
CREATE DATABASE registry;
CREATE DATABASE labeler;
CREATE DATABASE trainer;
